"""Chosen fields of a report: what a bank learns, what stays closed, and every forgery of it refused."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.exits import FINE, NO, USAGE
from cli.program import run
from ledger.commitments import day_of
from ledger.disclosure import (
    DISCLOSURE_REFUSALS,
    DisclosureVerdict,
    verify_disclosure,
    verify_disclosure_as_of,
)
from ledger.encoding.digests import digest
from ledger.encoding.keys import JWS_START, PrivateKey
from ledger.encoding.records import Json, parse_json
from ledger.errors import LedgerError
from ledger.rules.state import Ended
from ledger.sdjwt import (
    DECOYS_UP_TO,
    DEPTH_MAX,
    NAME_SIZE_MAX,
    Binding,
    Claims,
    SdJwt,
    _decode64,
    _dump,
    _encode64,
    _sign,
    bind,
    decode,
    issue,
    open_fields,
    select,
    text_hash,
)
from ledger.verdictjson import disclosure_to_json
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from node.client.disclosing import issue_report
from node.client.issuing import draft_of_bytes
from tests.attacks.forge import (
    BANK,
    HOLDER,
    ISSUER,
    NOW_MS,
    PLAIN,
    Shown,
    make_consent,
    make_scene,
    show,
)
from tests.support.asking import BODY
from tests.support.consortium import MINUTE_MS, REPORT, START_MS, key_of, member_key_of
from tests.support.office import Office, open_office, present

ISSUER_KEY = member_key_of(ISSUER)
FIELDS: dict[str, Json] = {
    "report": {"number": "SAMPLE-1", "date": "2026-01-02"},
    "subject": {"name": "样本·陈大文", "identity_document": "X000000(0)"},
    "accounts": [
        {"kind": "card", "balance": 4310},
        {"kind": "mortgage", "balance": 1250000, "terms": {"months": 187}},
    ],
    "on_time": True,
    "arrears": None,
    "score": 712,
}
CLAIMS = Claims(ISSUER, REPORT, START_MS // 1000, HOLDER.public)
NAMED = ("subject.name", "subject.identity_document", "accounts", "score")
CHOSEN = ("subject.name", "accounts[1].balance")


def drawn(seed: int = 1) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def made(fields: dict[str, Json] | None = None, key: PrivateKey = ISSUER_KEY, **changes: object) -> SdJwt:
    """Return a report as the holder has it."""
    text = issue(FIELDS if fields is None else fields, replace(CLAIMS, **cast(Any, changes)), key, drawn())
    return decode(text.encode())


@cache
def shown_for(jwt: str) -> Shown:
    """Return the proof of a JWT as the document, presented by the holder."""
    return show(make_scene(batch=(jwt.encode(), b"another report")))


def bound(chosen: SdJwt, key: PrivateKey = HOLDER, **changes: object) -> str:
    honest: dict[str, Any] = {
        "audience": BANK,
        "nonce": BODY.nonce.hex(),
        "issued_s": NOW_MS // 1000,
        "text_hash": "",
    }
    return bind(chosen, Binding(**{**honest, **changes}), key)


def verified(text: str, anchored: Shown | None = None, **changes: object) -> DisclosureVerdict:
    shown = anchored or shown_for(text.partition("~")[0])
    arguments: dict[str, Any] = {"request": shown.request, "now_ms": NOW_MS, "named_fields": NAMED}
    verifier = Verifier(shown.trust)
    return verify_disclosure(verifier, text.encode(), shown.proof_bytes, **{**arguments, **changes})


def code_of(text: str, anchored: Shown | None = None, **changes: object) -> str:
    with pytest.raises(VerificationError) as refused:
        verified(text, anchored, **changes)
    assert refused.value.expected and refused.value.found and refused.value.refusal.meaning.zh_hant
    return refused.value.code


def test_a_bank_learns_the_chosen_fields_and_how_much_is_withheld() -> None:
    verdict = verified(bound(select(made(), CHOSEN)))
    assert verdict.fields == {"subject": {"name": "样本·陈大文"}, "accounts": [{"balance": 1250000}]}
    assert verdict.shown == {"accounts[1].balance": 1250000, "subject.name": "样本·陈大文"}
    assert verdict.withheld == ("subject.identity_document", "score")
    assert verdict.withheld_count > len(verdict.withheld)
    assert verdict.document.consent.recipient == BANK
    assert verdict.bound_ms == NOW_MS


def test_all_fields_and_no_field_may_be_shown() -> None:
    everything = verified(bound(select(made(), tuple(FIELDS))))
    assert everything.fields == FIELDS and everything.withheld == ()
    nothing = verified(bound(select(made(), ())))
    assert (nothing.fields, nothing.withheld) == ({}, NAMED)
    assert nothing.document == everything.document, "which fields are shown changes nothing of the document"


def test_what_is_withheld_stands_nowhere_in_what_is_shown() -> None:
    text = bound(select(made(), CHOSEN))
    opened = "".join(
        _decode64("", part).decode("utf-8", "replace") for part in text.replace(".", "~").split("~")
    )
    for secret in ("X000000", "identity_document", "4310", "712", "mortgage", "months", "SAMPLE-1"):
        assert secret not in opened
    assert "样本·陈大文" in opened


def test_counts_of_digests_say_little_of_counts_of_fields() -> None:
    for count in range(1, 12):
        report = made({f"field{number}": number for number in range(count)})
        assert len(report.digests) % DECOYS_UP_TO == 0
        assert list(report.digests) == sorted(report.digests), "their order says nothing"


MONTHS: dict[str, Json] = {
    "late": [],
    "loans": [{"amount": 1}, {"amount": 2}, {"amount": 3}],
    "years": [[2024, 2025], []],
}


@pytest.mark.parametrize(
    ("chosen", "arrays"),
    [
        (("late",), {"late": (0, 0)}),
        (("loans",), {"loans": (3, 3)}),
        (("loans[1]",), {"loans": (1, 3)}),
        (("loans[0].amount", "loans[2].amount"), {"loans": (2, 3)}),
        (("years",), {"years": (2, 2), "years[0]": (2, 2), "years[1]": (0, 0)}),
        (("years[0][1]",), {"years": (1, 2), "years[0]": (1, 2)}),
        ((), {}),
    ],
)
def test_an_array_is_whole_or_says_how_much_of_it_is_shown(
    chosen: tuple[str, ...], arrays: dict[str, tuple[int, int]]
) -> None:
    verdict = verified(bound(select(made(MONTHS), chosen)))
    found = {path: (each.shown_count, each.elements_count) for path, each in verdict.arrays.items()}
    assert found == arrays
    assert {path: each.is_whole for path, each in verdict.arrays.items()} == {
        path: shown == count for path, (shown, count) in arrays.items()
    }


def test_an_array_of_which_all_is_withheld_never_looks_like_an_empty_one() -> None:
    """The holder takes the elements away by hand, and signs for what is left: what is said of the two differs."""
    whole = made(MONTHS)
    opened = next(each for each in whole.disclosures if each.name == "loans")
    cut = replace(whole, disclosures=(opened,))
    empty = replace(whole, disclosures=tuple(each for each in whole.disclosures if each.name == "late"))
    cut_verdict, empty_verdict = verified(bound(cut)), verified(bound(empty))
    assert cut_verdict.fields == {"loans": []} and empty_verdict.fields == {"late": []}
    assert not cut_verdict.arrays["loans"].is_whole and empty_verdict.arrays["late"].is_whole
    told = disclosure_to_json(cut_verdict, at_ms=0)["disclosed"]
    assert isinstance(told, dict)
    assert told["arrays"] == {"loans": {"shown_count": 0, "elements_count": 3, "is_whole": False}}


def test_an_issuers_decoys_never_make_a_cut_array_whole() -> None:
    """A report of another hand, with decoys in an array: it is never whole, which errs on the safe side."""
    decoy = digest_of([SALT, "decoy"])
    listed: Json = [SALT, "list", [{"...": digest_of(ELEMENT)}, {"...": decoy}]]
    verdict = verified(forged(payload_of([digest_of(listed)]), [listed, ELEMENT]))
    assert verdict.fields == {"list": ["value"]}
    assert (verdict.arrays["list"].shown_count, verdict.arrays["list"].elements_count) == (1, 2)


def test_one_choice_of_fields_has_one_hash() -> None:
    whole = made()
    assert select(whole, CHOSEN).shown_hash == select(whole, CHOSEN[::-1]).shown_hash
    shuffled = replace(whole, disclosures=whole.disclosures[::-1])
    assert shuffled.shown_hash == whole.shown_hash != select(whole, CHOSEN).shown_hash
    first, second = (verified(bound(select(whole, CHOSEN), issued_s=NOW_MS // 1000 - at)) for at in (0, 1))
    assert first.shown_hash == second.shown_hash == select(whole, CHOSEN).shown_hash
    digests = [digest(each.text.encode()) for each in select(whole, CHOSEN).disclosures]
    assert first.shown_hash == hashlib.sha256(b"\x0dluohu/shown/1" + b"".join(sorted(digests))).digest()


def test_two_copies_of_one_report_share_no_digest_and_no_key() -> None:
    other = issue(FIELDS, replace(CLAIMS, holder_key=key_of("second").public), ISSUER_KEY, drawn(2))
    first, second = made(), decode(other.encode())
    assert not set(first.digests) & set(second.digests)
    assert not {each.text for each in first.disclosures} & {each.text for each in second.disclosures}


def test_a_report_signed_by_another_key_than_the_registered_one_is_refused() -> None:
    assert code_of(bound(select(made(key=key_of("stranger")), CHOSEN))) == "disclosure-issuer"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "hk-bank"},
        {"schema": "cn.credit-report"},
        {"issued_s": START_MS // 1000 + 1},
    ],
)
def test_a_report_that_says_otherwise_than_its_anchor_is_refused(changes: dict[str, Any]) -> None:
    assert code_of(bound(select(made(**changes), CHOSEN))) == "disclosure-issuer"


def test_a_report_for_another_holder_than_the_anchored_one_is_refused() -> None:
    other = key_of("another holder")
    text = bound(select(made(holder_key=other.public), CHOSEN), key=other)
    assert code_of(text) == "disclosure-issuer"


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": "hk-bank"},
        {"nonce": b"another nonce 01".hex()},
        {"issued_s": NOW_MS // 1000 - 86_401},
        {"key": key_of("thief")},
    ],
)
def test_a_choice_by_another_for_another_or_at_another_time_is_refused(changes: dict[str, Any]) -> None:
    assert code_of(bound(select(made(), CHOSEN), **changes)) == "disclosure-binding"


def test_a_choice_later_than_the_time_asked_about_is_a_matter_of_clocks() -> None:
    text = bound(select(made(), CHOSEN), issued_s=NOW_MS // 1000 + 61)
    shown = shown_for(made().jwt)
    assert code_of(text) == "disclosure-clock"
    assert "clock" in DISCLOSURE_REFUSALS["disclosure-clock"].next_step.en
    with pytest.raises(VerificationError) as refused:
        verify_disclosure_as_of(
            Verifier(shown.trust), text.encode(), shown.proof_bytes, request=shown.request, at_ms=NOW_MS
        )
    assert refused.value.code == "disclosure-clock"


def test_a_report_is_asked_about_now_or_as_of_a_past_time() -> None:
    ended = Ended("holder", PLAIN, START_MS + MINUTE_MS + 1)
    jwt = made().jwt
    shown = show(make_scene(batch=(jwt.encode(), b"another report"), consent=make_consent(ended=ended)))
    verifier, then_ms = Verifier(shown.trust), START_MS + MINUTE_MS
    text = bound(select(made(), CHOSEN), issued_s=then_ms // 1000).encode()
    asked: dict[str, Any] = {"request": shown.request}
    past = verify_disclosure_as_of(verifier, text, shown.proof_bytes, at_ms=then_ms, **asked)
    assert past.shown["accounts[1].balance"] == 1250000
    for now_ms, code in (
        (then_ms, "consent-ended"),
        (then_ms - 1, "clock-behind"),
        (NOW_MS, "consent-ended"),
    ):
        with pytest.raises(VerificationError) as refused:
            verify_disclosure(verifier, text, shown.proof_bytes, now_ms=now_ms, **asked)
        assert refused.value.code == code
    for call, wrong in ((verify_disclosure, "at_ms"), (verify_disclosure_as_of, "now_ms")):
        with pytest.raises(TypeError, match=wrong):
            cast(Any, call)(verifier, text, shown.proof_bytes, **asked, **{wrong: NOW_MS})


def test_the_bounds_of_a_choices_time_are_included() -> None:
    for issued_s in (NOW_MS // 1000 - 86_400, NOW_MS // 1000 + 60):
        assert verified(bound(select(made(), CHOSEN), issued_s=issued_s)).bound_ms == issued_s * 1000


def test_a_choice_without_a_binding_is_refused() -> None:
    assert code_of(select(made(), CHOSEN).bound_text) == "disclosure-binding"


def test_a_field_added_or_taken_away_after_the_choice_is_refused() -> None:
    whole = made()
    text = bound(select(whole, CHOSEN))
    jwt, *disclosures, binding = text.split("~")
    taken = next(each.text for each in whole.disclosures if each.text not in disclosures)
    for forged in ([*disclosures, taken], disclosures[:-1], disclosures[::-1]):
        assert code_of("~".join((jwt, *forged, binding))) == "disclosure-binding"


def test_a_binding_is_not_a_report_and_a_report_no_binding() -> None:
    chosen = select(made(), CHOSEN)
    jwt, *_, binding = bound(chosen).split("~")
    assert code_of(chosen.bound_text + jwt) == "disclosure-binding"
    assert code_of(f"{binding}~") == "disclosure-malformed"
    assert code_of(jwt) == "disclosure-malformed"


def test_the_document_itself_is_verified_first() -> None:
    honest = made()
    other = issue({"x": 1}, CLAIMS, ISSUER_KEY, drawn(3))
    text = bound(select(decode(other.encode()), ("x",)))
    assert code_of(text, shown_for(honest.jwt)) == "document-altered"
    old = bound(select(honest, CHOSEN))
    assert code_of(old, now_ms=NOW_MS + 26 * 3_600_000) == "stale-proof"


# -- the strict profile -----------------------------------------------------------------------------------

HEADER: dict[str, Json] = {"alg": "EdDSA", "typ": "dc+sd-jwt", "kid": str(ISSUER_KEY.public)}
Sd = list[str]


def forged(payload: dict[str, Json], disclosures: list[Json], header: dict[str, Json] | None = None) -> str:
    """Return an SD-JWT signed by the issuer over whatever is asked, bound by the holder."""
    texts = [each if isinstance(each, str) else _encode64(_dump(each)) for each in disclosures]
    jwt = _sign(header or HEADER, payload, ISSUER_KEY)
    sd_jwt = SdJwt(jwt, ISSUER_KEY.public, CLAIMS, (), (), "")
    text = "~".join((jwt, *texts, ""))
    binding: dict[str, Json] = {
        "iat": NOW_MS // 1000,
        "aud": BANK,
        "nonce": BODY.nonce.hex(),
        "sd_hash": text_hash_of(text),
    }
    assert sd_jwt.claims is CLAIMS
    return text + _sign({"alg": "EdDSA", "typ": "kb+jwt"}, binding, HOLDER)


def text_hash_of(text: str) -> str:
    return _encode64(digest(text.encode()))


def digest_of(disclosure: Json) -> str:
    text = disclosure if isinstance(disclosure, str) else _encode64(_dump(disclosure))
    return text_hash_of(text)


def payload_of(digests: list[str], **changes: Json) -> dict[str, Json]:
    jwk: Json = {"kty": "OKP", "crv": "Ed25519", "x": _encode64(HOLDER.public.data)}
    honest: dict[str, Json] = {
        "iss": ISSUER,
        "vct": REPORT,
        "iat": START_MS // 1000,
        "cnf": {"jwk": jwk},
        "_sd_alg": "sha-256",
        "_sd": [*digests],
    }
    return {**honest, **changes}


SALT = "s" * 43
NAME: Json = [SALT, "name", "value"]
ELEMENT: Json = [SALT, "value"]


def test_what_the_forgeries_start_from_verifies() -> None:
    assert verified(forged(payload_of([digest_of(NAME)]), [NAME])).fields == {"name": "value"}


def without(payload: dict[str, Json], name: str) -> dict[str, Json]:
    return {key: value for key, value in payload.items() if key != name}


NESTED_RESERVED: Json = [SALT, "outer", {"_sd_alg": "sha-256"}]
MALFORMED: dict[str, str] = {
    "sha-512": forged(payload_of([digest_of(NAME)], _sd_alg="sha-512"), [NAME]),
    "no hash named": forged(without(payload_of([digest_of(NAME)]), "_sd_alg"), [NAME]),
    "no holder key": forged(without(payload_of([digest_of(NAME)]), "cnf"), [NAME]),
    "a claim more": forged(payload_of([digest_of(NAME)], exp=1), [NAME]),
    "alg none": forged(payload_of([digest_of(NAME)]), [NAME], {**HEADER, "alg": "none"}),
    "alg HS256": forged(payload_of([digest_of(NAME)]), [NAME], {**HEADER, "alg": "HS256"}),
    "alg ES256": forged(payload_of([digest_of(NAME)]), [NAME], {**HEADER, "alg": "ES256"}),
    "another type": forged(payload_of([digest_of(NAME)]), [NAME], {**HEADER, "typ": "JWT"}),
    "a key in the header": forged(payload_of([digest_of(NAME)]), [NAME], {**HEADER, "jwk": {}}),
    "critical headers": forged(payload_of([digest_of(NAME)]), [NAME], {**HEADER, "crit": ["b64"]}),
    "time in words": forged(payload_of([digest_of(NAME)], iat="now"), [NAME]),
    "time as truth": forged(payload_of([digest_of(NAME)], iat=True), [NAME]),
    "a long digest": forged(payload_of([digest_of(NAME) + "A"]), [NAME]),
    "a digest that is none": forged(payload_of(["*" * 43]), [NAME]),
    "digests that are no list": forged(payload_of([], _sd="x"), []),
    "a short salt": forged(payload_of([digest_of(["s" * 21, "name", 1])]), [["s" * 21, "name", 1]]),
    "a salt that is a number": forged(payload_of([digest_of([1, "name", 1])]), [[1, "name", 1]]),
    "a name that is a number": forged(payload_of([digest_of([SALT, 1, 1])]), [[SALT, 1, 1]]),
    "a member named _sd": forged(payload_of([digest_of([SALT, "_sd", []])]), [[SALT, "_sd", []]]),
    "a member named ...": forged(payload_of([digest_of([SALT, "...", 1])]), [[SALT, "...", 1]]),
    "a member named _sd_alg": forged(payload_of([digest_of([SALT, "_sd_alg", 1])]), [[SALT, "_sd_alg", 1]]),
    "a member with a dot": forged(payload_of([digest_of([SALT, "a.b", 1])]), [[SALT, "a.b", 1]]),
    "a member without a name": forged(payload_of([digest_of([SALT, "", 1])]), [[SALT, "", 1]]),
    "one item": forged(payload_of([digest_of([SALT])]), [[SALT]]),
    "four items": forged(payload_of([digest_of([SALT, "a", 1, 2])]), [[SALT, "a", 1, 2]]),
    "no JSON": forged(payload_of([digest_of(_encode64(b"{"))]), [_encode64(b"{")]),
    "a repeated key": forged(
        payload_of([digest_of(_encode64(b'["%s","a",{"x":1,"x":2}]' % SALT.encode()))]),
        [_encode64(b'["%s","a",{"x":1,"x":2}]' % SALT.encode())],
    ),
    "half a character": forged(
        payload_of([digest_of(_encode64(b'["%s","a","\\ud800"]' % SALT.encode()))]),
        [_encode64(b'["%s","a","\\ud800"]' % SALT.encode())],
    ),
    "padding": forged(payload_of([digest_of(_encode64(_dump(NAME)) + "=")]), [_encode64(_dump(NAME)) + "="]),
    "base64 with plus": forged(payload_of([digest_of("++++")]), ["++++"]),
    "an empty disclosure": forged(payload_of([digest_of(NAME)]), [NAME, ""]),
}
UNFIT: dict[str, str] = {
    "a disclosure that nothing names": forged(payload_of([digest_of(NAME)]), [NAME, [SALT, "other", 1]]),
    "a disclosure twice": forged(payload_of([digest_of(NAME)]), [NAME, NAME]),
    "a digest twice": forged(payload_of([digest_of(NAME), digest_of(NAME)]), [NAME]),
    "a closed digest twice": forged(payload_of(["A" * 43, "A" * 43]), []),
    "an element for a member": forged(payload_of([digest_of(ELEMENT)]), [ELEMENT]),
    "a member for an element": forged(
        payload_of([digest_of([SALT, "list", [{"...": digest_of(NAME)}]])]),
        [[SALT, "list", [{"...": digest_of(NAME)}]], NAME],
    ),
    "two members of one name": forged(
        payload_of([digest_of(NAME), digest_of(["t" * 43, "name", 2])]), [NAME, ["t" * 43, "name", 2]]
    ),
    "a member hidden and open": forged(
        payload_of([digest_of([SALT, "o", {"name": 1, "_sd": [digest_of(NAME)]}])]),
        [[SALT, "o", {"name": 1, "_sd": [digest_of(NAME)]}], NAME],
    ),
    "a hash named inside": forged(payload_of([digest_of(NESTED_RESERVED)]), [NESTED_RESERVED]),
    "an element with more": forged(
        payload_of([digest_of([SALT, "l", [{"...": "A" * 43, "x": 1}]])]),
        [[SALT, "l", [{"...": "A" * 43, "x": 1}]]],
    ),
    "an element that is no digest": forged(
        payload_of([digest_of([SALT, "l", [{"...": 1}]])]), [[SALT, "l", [{"...": 1}]]]
    ),
    "a digest in two places": forged(
        payload_of([digest_of([SALT, "o", {"_sd": [digest_of(NAME)]}]), digest_of(NAME)]),
        [[SALT, "o", {"_sd": [digest_of(NAME)]}], NAME],
    ),
}


@pytest.mark.parametrize("name", list(MALFORMED))
def test_what_is_not_of_the_profile_is_malformed(name: str) -> None:
    assert code_of(MALFORMED[name]) == "disclosure-malformed"


@pytest.mark.parametrize("name", list(UNFIT))
def test_disclosures_that_do_not_fit_the_report_are_refused(name: str) -> None:
    assert code_of(UNFIT[name]) == "disclosure-unfit"


def test_nesting_has_an_end() -> None:
    def nested(levels: int) -> Json:
        value: Json = 1
        for _ in range(levels):
            value = {"a": value}
        return value

    deepest = nested(DEPTH_MAX)
    assert isinstance(deepest, dict)
    assert open_fields(made(deepest)).fields == deepest
    deeper = nested(DEPTH_MAX + 1)
    assert isinstance(deeper, dict)
    with pytest.raises(LedgerError, match="levels"):
        made(deeper)
    disclosure: Json = [SALT, "a", deepest]
    assert code_of(forged(payload_of([digest_of(disclosure)]), [disclosure])) == "disclosure-unfit"


@pytest.mark.parametrize("name", ["_sd", "...", "_sd_alg", "a.b", "a[0]", "", "n" * (NAME_SIZE_MAX + 1)])
def test_a_report_with_a_name_that_cannot_be_shown_is_not_issued(name: str) -> None:
    for fields in ({name: 1}, {"inner": {name: 1}}, {"list": [{name: 1}]}):
        with pytest.raises(LedgerError, match="field name"):
            made(fields)  # type: ignore[arg-type]
    assert open_fields(made({"n" * NAME_SIZE_MAX: 1})).fields == {"n" * NAME_SIZE_MAX: 1}


def test_sizes_and_counts_hold_at_their_limits_and_not_past_them(monkeypatch: pytest.MonkeyPatch) -> None:
    three: dict[str, Json] = {"a": 1, "b": 2, "c": 3}
    report = made(three)
    text = report.bound_text
    for name, exact in (
        ("DISCLOSURES_MAX", 3),
        ("JWT_SIZE_MAX", len(report.jwt)),
        ("SDJWT_SIZE_MAX", len(text)),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(f"ledger.sdjwt.{name}", exact)
            assert decode(text.encode()) == report
            if name != "SDJWT_SIZE_MAX":
                assert made(three) == report
            patched.setattr(f"ledger.sdjwt.{name}", exact - 1)
            with pytest.raises(LedgerError, match=f"at most {exact - 1}|up to {exact - 1}"):
                decode(text.encode())
            if name != "SDJWT_SIZE_MAX":
                with pytest.raises(LedgerError, match=f"at most {exact - 1}"):
                    issue(three, CLAIMS, ISSUER_KEY, drawn())


def test_half_a_character_is_not_issued() -> None:
    for fields in ({"a": "\ud800"}, {"\ud800": 1}, {"a": ["\udfff"]}):
        with pytest.raises(LedgerError, match="whole characters"):
            made(fields)  # type: ignore[arg-type]


def test_fractions_are_not_issued() -> None:
    with pytest.raises(LedgerError, match="fractions as text"):
        made({"amount": 1.5})


def test_a_field_that_is_not_there_cannot_be_chosen() -> None:
    for path in ("nothing", "subject.", "accounts[2]", "accounts[0].terms", "[0]", ""):
        with pytest.raises(LedgerError, match="paths of this report"):
            select(made(), (path,))


def test_every_bit_of_what_is_shown_counts() -> None:
    fields: dict[str, Json] = {"a": 1, "b": 2}
    text = bound(select(made(fields), ("a",)))
    anchored = shown_for(text.partition("~")[0])
    assert verified(text, anchored).fields == {"a": 1}
    data = text.encode()
    verifier = Verifier(anchored.trust)
    start = text.index("~")
    for place in range(8 * start, 8 * len(data), 3):
        altered = bytearray(data)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(VerificationError):
            verify_disclosure(
                verifier, bytes(altered), anchored.proof_bytes, request=anchored.request, now_ms=NOW_MS
            )


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200) | st.text("ey.~J_-A0", max_size=60).map(str.encode))
def test_arbitrary_bytes_let_out_only_the_declared_family(data: bytes) -> None:
    with pytest.raises(LedgerError):
        decode(data)
    jwt = made().jwt.encode()
    anchored = shown_for(jwt.decode())
    with pytest.raises(VerificationError):
        verify_disclosure(
            Verifier(anchored.trust),
            jwt + data,
            anchored.proof_bytes,
            request=anchored.request,
            now_ms=NOW_MS,
        )


LEAVES = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8)
NAMES = st.text("abcdefgh中文 ", min_size=1, max_size=4)
REPORTS = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(REPORTS, st.randoms(use_true_random=False))
def test_whatever_is_chosen_is_shown_and_nothing_else(report: dict[str, Json], dice: random.Random) -> None:
    whole = made(report)
    opened = open_fields(whole)
    assert opened.fields == report
    chosen = [path for path in opened.values if dice.random() < 0.5]
    shown = open_fields(select(whole, chosen))
    assert shown.values == {path: opened.values[path] for path in chosen}
    again = open_fields(decode(select(whole, list(report)).bound_text.encode()))
    assert again.fields == report


def test_a_signature_of_a_jwt_is_never_one_of_the_ledger() -> None:
    assert JWS_START[0] > 31, "a tagged body begins with the length of its tag, at most 31"
    with pytest.raises(AssertionError):
        ISSUER_KEY.sign_jws(b"\x10luohu/request/1")


def test_sd_hash_follows_the_published_rule() -> None:
    chosen = select(made(), CHOSEN)
    assert text_hash(chosen) == text_hash_of(chosen.bound_text)
    assert chosen.bound_text.endswith("~")


def test_the_published_example_of_a_disclosure_has_its_published_digest() -> None:
    # RFC 9901, section 4.2.3: salt, family_name, M\u00f6bius.
    text = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    assert text_hash_of(text) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"
    assert parse_json(_decode64("", text)) == ["_26bc4LT-ac6q2KI6cBW5es", "family_name", "M\u00f6bius"]


def test_every_refusal_speaks_three_languages() -> None:
    for refusal in DISCLOSURE_REFUSALS.values():
        for sentence in (refusal.meaning, refusal.next_step):
            assert sentence.en.isascii() and not sentence.zh_hans.isascii() and not sentence.zh_hant.isascii()


# -- commands -------------------------------------------------------------------------------------------


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with open_office(tmp_path) as opened:
        monkeypatch.setenv("LUOHU_PASSPHRASE", "correct horse")
        for module in ("cli.disclose", "cli.verify"):
            monkeypatch.setattr(f"{module}.now_ms", lambda: opened.now_ms)
        yield opened


def test_the_commands_issue_choose_and_verify(
    office: Office, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.commitments import Metadata, Opening
    from ledger.encoding.records import pack
    from ledger.proofs import BatchPath
    from ledger.rules.operations import AnchorBatch
    from ledger.trees.merkle import Tree, content_root
    from node.client.wallet import Wallet
    from node.files.keyfiles import Passphrase
    from tests.support.consortium import make_transaction

    class Home:
        """The issuer as commands see it."""

        id, key = ISSUER, ISSUER_KEY

    monkeypatch.setattr("cli.homes.open_member", lambda *_: Home)
    report, whole, out = office.path("report.json"), office.path("r.sdjwt"), office.path("r.shown")
    report.write_text(json.dumps(FIELDS), encoding="utf-8")
    named = ["--holder", str(office.holder), "--schema", REPORT, "--home", "h", "--out", str(whole)]
    assert run(["disclose", "issue", str(report), *named]) == FINE
    assert run(["disclose", "issue", str(report), *named]) == USAGE, "never overwritten"
    jwt = Path(f"{whole}.jwt").read_bytes()
    metadata = Metadata(ISSUER, REPORT, office.holder, office.now_ms, office.now_ms + 86_400_000)
    opening = Opening("application/octet-stream", *content_root([jwt]), b"s" * 32, pack(metadata))
    tree = Tree([opening.commitment()])
    assert not office.node.extend(
        make_transaction(ISSUER, AnchorBatch(tree.root(), 1, REPORT, metadata.expires_ms))
    )
    proof = replace(office.proof, opening=opening, batch=BatchPath(1, tree.path(0)), anchor_root=tree.root())
    proof = office.evidence(proof)
    with Wallet.load(office.path("wallet"), Passphrase.from_text("correct horse")) as wallet:
        keys = (wallet.signer_for(office.holder), office.consent_key)
        proof = present(proof, office.request, office.consent, *keys)
    office.path("r.proof").write_bytes(proof.encode())
    choose = ["disclose", "select", str(whole), "--request", str(office.path("request"))]
    choose += ["--wallet", str(office.path("wallet")), "--out", str(out)]
    assert run([*choose, "--field", "nothing"]) == NO
    assert not out.exists()
    assert (
        run([*choose, "--field", "subject.name", "--field", "score", "--field", "accounts[1].kind"]) == FINE
    )
    check = ["disclose", "verify", str(out), "--proof", str(office.path("r.proof"))]
    check += ["--trust", str(office.path("trust.json")), "--request", str(office.path("request"))]
    capsys.readouterr()
    assert run([*check, "--json"]) == FINE
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "verified"
    assert answer["disclosed"]["fields"] == {
        "subject": {"name": "样本·陈大文"},
        "score": 712,
        "accounts": [{"kind": "mortgage"}],
    }
    assert "subject.identity_document" in answer["disclosed"]["withheld"]
    assert run(check) == FINE
    said = capsys.readouterr().out
    assert (
        said.startswith("VERIFIED, with chosen fields")
        and "withholds enquiries" in said
        and "accounts[1].kind" in said
        and "NOT WHOLE: 1 of 2 elements shown" in said
    )
    assert run(["disclose", "show", str(out)]) == run(["disclose", "show", str(whole)]) == FINE
    unbound = out.read_bytes().rpartition(b"~")[0] + b"~"
    out.write_bytes(unbound)
    capsys.readouterr()
    assert run(check) == NO
    assert capsys.readouterr().out.startswith("REFUSED: disclosure-binding\n")
    assert isinstance(parse_json(report.read_bytes()), dict)


@pytest.mark.parametrize("moment_ms", [START_MS, NOW_MS, 86_400_000 * 20_000 + 86_399_999])
def test_a_report_and_the_metadata_of_its_day_bear_the_same_time_of_issue(moment_ms: int) -> None:
    key = key_of("issuer")
    text = issue_report(
        {"name": "x"}, issuer=ISSUER, schema=REPORT, holder=HOLDER.public, key=key, now_ms=moment_ms
    )
    anchored = draft_of_bytes(b"x", media_type="application/pdf", schema=REPORT, holder_key=HOLDER.public)
    metadata = anchored.opened(ISSUER, now_ms=moment_ms).decoded_metadata()
    # A report is no later than its anchor, or it is refused; and no finer than a day.
    assert decode(text.encode()).claims.issued_s * 1000 == metadata.issued_ms == day_of(moment_ms)
    assert metadata.issued_ms % 86_400_000 == 0
