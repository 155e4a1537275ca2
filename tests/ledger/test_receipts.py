"""Consent receipts: what the holder was told, bound to the ledger to the last character, in three languages."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cli.exits import FINE, NO, USAGE
from cli.program import run
from ledger.consents import ConsentFile, grant_consent
from ledger.encoding.records import to_json
from ledger.errors import LedgerError
from ledger.receipts import (
    LANGUAGES,
    ConsentReceipt,
    ReceiptFile,
    Wording,
    check_receipt,
    check_receipt_of,
    parse_receipt,
)
from ledger.requests import Item, Request
from ledger.rules.state import Member, find, member_key
from ledger.trust import TrustedRoot
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from node.client.issuing.draft import draft_of_file
from node.client.issuing.register import REGISTER, Register
from node.consent.receipts import Consenting, compose_receipt
from node.consent.receipttext import receipt_rows, render_html
from node.consent.scenarios import scenarios_directory
from node.consent.textbundle import TextBundle
from node.consent.textfolder import pack_folder, sample_texts
from node.files.configfile import ConfigError
from node.home.home import Home
from tests.support.consortium import START_MS, key_of, make_genesis
from tests.support.forging import with_fields
from tests.support.office import BANK, ISSUER, Office, make_homes, make_request, open_office, present
from tests.support.terminal import Terminal

KEY = key_of("receipt consent")
NOW_MS = START_MS + 3_600_000

# ISO/IEC TS 27560 and PIPL articles 14, 17, 23, 29, 30, 39: what must stand in a record, and the field that says it.
REQUIRED = {
    "schema version": "version",
    "record id": "record_id",
    "PII principal id": "principal",
    "privacy notice": "notice_version",
    "language": "language",
    "purpose": "purpose",
    "PII information": "categories",
    "PII controllers: id, name, address, contact, type": "parties",
    "storage locations": "parties",
    "retention period": "retention",
    "jurisdiction": "parties",
    "recipient third parties": "third_parties",
    "withdrawal method": "withdrawal",
    "event time": "given_ms",
    "validity duration": "until_ms",
    "PIPL 17: method": "method",
    "PIPL 17, 39: how to exercise rights": "rights",
    "PIPL 28: sensitive": "is_sensitive",
    "PIPL 30: necessity and impact": "necessity",
    "PIPL 39: separate consent": "separate_consent",
    "PIPL 39: overseas recipient": "crossing",
    "PIPL 16: refusal": "refusal",
    "direction and basis": "basis",
}


@pytest.fixture(scope="module")
def texts() -> TextBundle:
    return sample_texts().bundle


@pytest.fixture(scope="module")
def request_() -> Request:
    return make_request(TrustedRoot(1, make_genesis(), ()), NOW_MS)


def member(name: str) -> Member:
    from ledger.genesis import genesis_tip
    from tests.support.consortium import make_content

    found = find(genesis_tip(make_content()).state, Member, member_key(name))
    assert found is not None
    return found


def compose(request: Request, texts: TextBundle, **changes: object) -> ConsentReceipt:
    consenting: dict[str, Any] = {
        "principal": KEY.public,
        "nonce": b"consent nonce 01",
        "language": "zh-Hant",
        "given_ms": NOW_MS,
        "from_ms": START_MS,
    }
    return compose_receipt(
        request,
        texts,
        issuers=(member(ISSUER),),
        recipient=member(BANK),
        consenting=Consenting(**{**consenting, **changes}),
    )


def given(request: Request, receipt: ConsentReceipt) -> tuple[ConsentFile, ReceiptFile]:
    consent = grant_consent(
        request,
        KEY,
        nonce=receipt.record_id,
        terms_salt=b"s" * 32,
        from_ms=receipt.from_ms,
        submit_by_ms=NOW_MS,
        receipt_hash=receipt.digest(),
    )
    return consent, ReceiptFile(receipt, consent.terms_salt, consent.consent_id)


def test_every_mandatory_field_stands_in_the_record(request_: Request, texts: TextBundle) -> None:
    receipt = compose(request_, texts)
    names = {field.name for field in fields(receipt)}
    assert set(REQUIRED.values()) <= names
    for party in receipt.parties:
        assert party.contact and party.storage.en and party.rights.zh_hans and party.address.zh_hant
    assert receipt.crossing is not None and receipt.is_sensitive == 1


def test_the_receipt_is_what_the_consent_commits_to(request_: Request, texts: TextBundle) -> None:
    consent, file = given(request_, compose(request_, texts))
    check_receipt_of(file, consent)
    assert ConsentFile.decode(consent.encode()) == consent
    terms = consent.grant.decoded().terms
    check_receipt(file, request_, terms, consent_id=consent.consent_id)


def altered(value: object) -> object:
    """Return a value of the same shape that differs."""
    match value:
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:]
        case int():
            return value ^ 1
        case Wording():
            return replace(value, en=value.en + ".")
        case tuple():
            return (*value[:-1], altered(value[-1]))
        case Item():
            return replace(value, count=value.count + 1)
        case None:
            return Wording("x", "x", "x")
        case str():
            return {"HK": "CN", "zh-Hant": "en"}[value]
        case _:
            name = next(field.name for field in reversed(fields(value)) if field.name != "algorithm")  # type: ignore[arg-type]
            return replace(value, **{name: altered(getattr(value, name))})  # type: ignore[type-var]


def test_one_change_anywhere_is_another_receipt(request_: Request, texts: TextBundle) -> None:
    consent, file = given(request_, compose(request_, texts))
    for field in fields(ConsentReceipt):
        if field.name in ("version", "standard"):
            continue
        changed = with_fields(file.receipt, **{field.name: altered(getattr(file.receipt, field.name))})
        with pytest.raises(LedgerError) as refused:
            check_receipt_of(replace(file, receipt=changed), consent)
        assert refused.value.code == "receipt", field.name
        # The words alone are not all: the commitment refuses even where every code agrees.
        assert changed.digest() != file.receipt.digest()
    for changed_file in (replace(file, terms_salt=bytes(32)), replace(file, consent_id=bytes(32))):
        with pytest.raises(LedgerError):
            check_receipt_of(changed_file, consent)
    check_receipt_of(file, consent)


def test_a_receipt_whose_words_and_codes_differ_is_refused_even_where_it_is_committed_to(
    request_: Request, texts: TextBundle
) -> None:
    honest = compose(request_, texts)
    for changes in (
        {"crossing": None},
        {"is_sensitive": 0},
        {"uses": honest.uses + 1},
        {"until_ms": honest.until_ms + 1},
        {"parties": tuple(reversed(honest.parties))},
        {"categories": honest.categories[:-1]},
        {"kinds": honest.kinds * 2},
    ):
        consent, file = given(request_, replace(honest, **changes))
        with pytest.raises(LedgerError) as refused:
            check_receipt_of(file, consent)
        assert refused.value.code == "receipt", changes


def test_a_receipt_of_another_grant_is_refused_even_where_it_is_committed_to(
    request_: Request, texts: TextBundle
) -> None:
    for changes, message in (
        ({"nonce": b"another nonce 01"}, "record id"),
        ({"principal": key_of("another holder").public}, "principal"),
    ):
        receipt = compose(request_, texts, **changes)
        consent = grant_consent(
            request_,
            KEY,
            nonce=b"consent nonce 01",
            terms_salt=b"s" * 32,
            from_ms=START_MS,
            submit_by_ms=NOW_MS,
            receipt_hash=receipt.digest(),
        )
        with pytest.raises(LedgerError, match=message):
            check_receipt_of(ReceiptFile(receipt, consent.terms_salt, consent.consent_id), consent)


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "wealth.suitability"},
        {"recipient": "hk-operator"},
        {"schemas": ("hk.bank-statement",)},
        {"category_mask": 0b11},
        {"until_ms": NOW_MS + 9 * 86_400_000},
        {"uses": 9},
    ],
)
def test_a_changed_purpose_recipient_or_kind_of_data_is_a_new_consent(
    request_: Request, texts: TextBundle, changes: dict[str, Any]
) -> None:
    consent, file = given(request_, compose(request_, texts))
    other = make_request(TrustedRoot(1, make_genesis(), ()), NOW_MS, **changes)
    with pytest.raises(LedgerError, match="answers its request"):
        ConsentFile.decode(replace(consent, request=other).encode())
    with pytest.raises(LedgerError):
        check_receipt(file, other, consent.grant.decoded().terms, consent_id=consent.consent_id)
    again = grant_consent(
        other, KEY, nonce=b"consent nonce 01", terms_salt=b"s" * 32, from_ms=START_MS, submit_by_ms=NOW_MS
    )
    assert again.consent_id != consent.consent_id


def test_nobody_consents_to_what_no_text_describes(texts: TextBundle) -> None:
    trust = TrustedRoot(1, make_genesis(), ())
    for changes, message in (
        ({"notice_version": bytes(32)}, "a notice of these texts"),
        ({"category_mask": 0b11111}, "what its notice describes"),
        ({"purpose": "wealth.suitability"}, "what its notice describes"),
    ):
        with pytest.raises(ConfigError, match=message):
            compose(make_request(trust, NOW_MS, **changes), texts)
    with pytest.raises(ConfigError, match="address and contact of mainland-bank"):
        known = tuple(each for each in texts.parties if each.member == ISSUER)
        compose(make_request(trust, NOW_MS), replace(texts, parties=known))


def test_every_notice_has_a_receipt_in_three_languages_that_says_all_of_it(
    request_: Request, texts: TextBundle
) -> None:
    _, file = given(request_, compose(request_, texts))
    for language in LANGUAGES:
        rows = receipt_rows(file, language)
        assert len({len(receipt_rows(file, other)) for other in LANGUAGES}) == 1
        said = "\n".join(text for _, text in rows)
        for field in fields(ConsentReceipt):
            value = getattr(file.receipt, field.name)
            if isinstance(value, Wording):
                assert value.in_language(language) in said, field.name
        for category in file.receipt.categories:
            assert category.text.in_language(language) in said
        for party in file.receipt.parties:
            for wording in (party.name, party.address, party.storage, party.rights):
                assert wording.in_language(language) in said


class Page(HTMLParser):
    """Collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_every_text_and_nothing_that_runs(request_: Request, texts: TextBundle) -> None:
    honest = compose(request_, texts)
    hostile = Wording("<script>alert(1)</script>", '"><img src=x>', "&amp; </td>")
    _, file = given(request_, replace(honest, refusal=hostile))
    page = Page()
    page.feed(render_html(file))
    assert page.tags <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "section",
        "p",
        "h1",
        "table",
        "tr",
        "th",
        "td",
    }
    for language in LANGUAGES:
        assert hostile.in_language(language) in page.text
    shown = re.findall(r'<section lang="([^"]+)"', render_html(file))
    assert shown == ["zh-Hant", "zh-Hans", "en"], "the language that was read comes first"
    assert unescape(render_html(file)).count(file.consent_id.hex()) == 3


def test_the_file_form_is_strict(request_: Request, texts: TextBundle) -> None:
    _, file = given(request_, compose(request_, texts))
    text = json.dumps(to_json(file), ensure_ascii=False)
    assert parse_receipt(text.encode()) == file
    for bad in (
        text[:-1],
        text[:-1] + ', "more": 1}',
        text.replace('"uses"', '"use"'),
        "[]",
        "",
        "{" * 9_000,
    ):
        with pytest.raises(LedgerError):
            parse_receipt(bad.encode())


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("receipt.toml", "[refusal]", "[refused]"),
        ("receipt.toml", 'en = "You may refuse.', 'fr = "You may refuse.'),
        ("parties.toml", 'member = "hk-bank"', 'member = "hk-bureau"'),
        ("parties.toml", "[party.rights]", "[party.right]"),
        ("receipt.toml", 'en = "You may refuse.', 'en = "' + "x" * 4_000),
    ],
)
def test_wrong_texts_are_refused_with_their_file(tmp_path: Path, name: str, old: str, new: str) -> None:
    folder = Path(shutil.copytree(scenarios_directory(), tmp_path / "scenarios"))
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=name):
        pack_folder(folder)


# -- commands -------------------------------------------------------------------------------------------


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with open_office(tmp_path) as opened:
        monkeypatch.setenv("LUOHU_PASSPHRASE", "correct horse")
        for module in ("cli.consent", "cli.times"):
            monkeypatch.setattr(f"{module}.now_ms", lambda: opened.now_ms)
        yield opened


def grant(office: Office, name: str = "new") -> Path:
    """Grant the office's second request by command; return the consent's path."""
    trust = TrustedRoot(1, make_genesis(), ())
    office.path("asked").write_bytes(make_request(trust, office.now_ms, nonce=b"request nonce 02").encode())
    out = office.path(name)
    command = ["consent", "grant", "--request", office.path("asked"), "--wallet", office.path("wallet")]
    arguments = [*command, "--url", office.url, "--out", out, "--language", "en", "--yes"]
    assert run([str(each) for each in arguments]) == FINE
    return out


def test_granting_leaves_a_receipt_that_the_ledger_confirms_to_holder_and_bank(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    consent = grant(office)
    receipt = f"{consent}.receipt.json"
    check = ["consent", "receipt", "check", receipt]
    capsys.readouterr()
    assert run([*check, "--consent", str(consent)]) == FINE
    assert run([*check, "--consent", str(consent), "--url", office.url]) == FINE
    assert run([*check, "--request", str(office.path("asked")), "--url", office.url]) == FINE
    said = capsys.readouterr().out
    assert "as this node says: the receipt agrees with what this node says the ledger holds" in said
    assert "under your trusted root" not in said
    trusted = ["--trust", str(office.path("trust.json")), "--url", office.url]
    assert run([*check, "--request", str(office.path("asked")), *trusted]) == FINE
    said = capsys.readouterr().out
    assert (
        said.startswith("the receipt agrees with what the ledger holds") and "under your trusted root" in said
    )
    assert run(["consent", "receipt", "show", receipt, "--html", str(office.path("page.html"))]) == FINE
    said = capsys.readouterr().out
    assert "How to withdraw" in said and "1 Sample Road, Lion Rock" in said
    assert "撤回方式" in office.path("page.html").read_text(encoding="utf-8")
    # The office's first consent was given without a receipt: this one is not its receipt, nor of its request.
    assert run([*check, "--consent", str(office.path("consent"))]) == NO
    assert run([*check, "--request", str(office.path("request")), "--url", office.url]) == NO
    assert run(check) == run([*check, "--request", str(office.path("asked"))]) == USAGE
    text = Path(receipt).read_text(encoding="utf-8")
    Path(receipt).write_text(text.replace("You may refuse.", "You may not refuse."), encoding="utf-8")
    capsys.readouterr()
    assert run([*check, "--request", str(office.path("asked")), "--url", office.url]) == NO
    assert "terms commitment" in capsys.readouterr().err


def test_a_request_that_no_text_describes_leaves_neither_key_nor_file(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = TrustedRoot(1, make_genesis(), ())
    unknown = make_request(trust, office.now_ms, notice_version=bytes(32))
    office.path("asked").write_bytes(unknown.encode())
    before = office.snapshot()
    command = ["consent", "grant", "--request", office.path("asked"), "--wallet", office.path("wallet")]
    assert run([str(each) for each in (*command, "--url", office.url, "--out", office.path("new"))]) == USAGE
    assert "texts with the notice " in capsys.readouterr().err
    after = office.snapshot()
    assert {name: each for name, each in after.items() if ".lock" not in name} == {
        name: each for name, each in before.items() if ".lock" not in name
    }


@pytest.mark.parametrize(("answer", "exit_code"), [("y\n", FINE), ("n\n", 130), ("", 130)])
def test_at_a_terminal_the_terms_are_shown_before_anything_is_signed(
    office: Office,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    exit_code: int,
) -> None:
    trust = TrustedRoot(1, make_genesis(), ())
    office.path("asked").write_bytes(make_request(trust, office.now_ms, nonce=b"request nonce 02").encode())
    wallet = office.path("wallet").read_bytes()
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    command = ["consent", "grant", "--request", office.path("asked"), "--wallet", office.path("wallet")]
    arguments = [*command, "--url", office.url, "--out", office.path("new"), "--language", "en"]
    assert run([str(each) for each in arguments]) == exit_code
    said = capsys.readouterr().err
    assert "How to withdraw" in said and "How to exercise your rights there" in said
    is_given = exit_code == FINE
    assert office.path("new").exists() == office.path("new.receipt.json").exists() == is_given
    assert (office.path("wallet").read_bytes() != wallet) == is_given, "no key is made without consent"


def test_without_a_terminal_and_without_yes_nobody_consents(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = TrustedRoot(1, make_genesis(), ())
    office.path("asked").write_bytes(make_request(trust, office.now_ms, nonce=b"request nonce 02").encode())
    wallet, before = office.path("wallet").read_bytes(), office.snapshot()
    command = ["consent", "grant", "--request", office.path("asked"), "--wallet", office.path("wallet")]
    assert run([str(each) for each in (*command, "--url", office.url, "--out", office.path("new"))]) == USAGE
    assert "--yes" in capsys.readouterr().err
    assert office.path("wallet").read_bytes() == wallet, "no key is made without consent"
    assert {name for name in office.snapshot() if ".lock" not in name} == {
        name for name in before if ".lock" not in name
    }


# -- erasure --------------------------------------------------------------------------------------------


def erase(office: Office, *more: str | Path) -> int:
    return run(["erase", str(office.path("report.pdf.proof")), *map(str, more)])


def holder_arguments(office: Office) -> list[str | Path]:
    named: list[str | Path] = ["--wallet", office.path("wallet"), "--consent", office.path("consent")]
    return [*named, "--trust", office.path("trust.json"), "--url", office.url]


def test_a_holder_erases_salt_receipt_and_keys_and_sees_what_remains(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, wallet = office.path("report.pdf.proof"), office.path("wallet")
    consent, request = office.path("consent"), office.path("request")
    withdraw = ["consent", "withdraw", "--consent", str(consent), "--url", office.url]
    before = office.snapshot()
    assert erase(office, *holder_arguments(office), "--yes") == NO
    assert "withdraw it first" in capsys.readouterr().err
    assert erase(office, "--wallet", wallet, "--yes") == NO
    assert erase(office, "--wallet", wallet, "--consent", consent, "--yes") == NO
    assert erase(office, *holder_arguments(office)) == NO
    kept = {name: each for name, each in office.snapshot().items() if ".lock" not in name}
    assert kept == {name: each for name, each in before.items() if ".lock" not in name}
    assert run(withdraw) == FINE
    assert erase(office, *holder_arguments(office)) == USAGE, "nobody confirmed"
    assert proof.exists()
    capsys.readouterr()
    copies = [office.path("copy"), office.path("report.pdf")]
    copies[0].write_bytes(proof.read_bytes())
    more: list[str | Path] = ["--also", copies[0], "--document", copies[1]]
    assert erase(office, *holder_arguments(office), *more, "--yes", "--json") == FINE
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["erased"]["files"]) == 4 and len(answer["erased"]["keys"]) == 2
    assert office.proof.anchor_root.hex() in answer["remains_on_ledger"]["anchor"]
    assert office.consent.consent_id.hex() in answer["remains_on_ledger"]["consent"]
    assert not any(path.exists() for path in (proof, consent, *copies))
    present_again = ["proof", "present", str(proof), "--request", str(request), "--consent", str(consent)]
    assert run([*present_again, "--wallet", str(wallet)]) == USAGE
    left = b"".join(content for _, content in office.snapshot().values())
    assert office.proof.encode() not in left and office.consent.encode() not in left
    from node.client.wallet import UnknownWalletKey, Wallet
    from node.files.keyfiles import Passphrase

    with Wallet.load(wallet, Passphrase.from_text("correct horse")) as opened:
        assert opened.keys == ()
        with pytest.raises(UnknownWalletKey):
            opened.signer_for(office.holder)


def test_the_receipt_of_a_consent_is_erased_with_it(office: Office) -> None:
    consent = grant(office)
    receipt = Path(f"{consent}.receipt.json")
    assert receipt.exists()
    assert run(["consent", "withdraw", "--consent", str(consent), "--url", office.url]) == FINE
    assert run(["consent", "withdraw", "--consent", str(office.path("consent")), "--url", office.url]) == FINE
    arguments: list[str | Path] = [
        "--wallet",
        office.path("wallet"),
        "--consent",
        consent,
        "--trust",
        office.path("trust.json"),
        "--url",
        office.url,
        "--yes",
    ]
    assert erase(office, *arguments) == FINE
    assert not receipt.exists() and not consent.exists()


def test_what_cannot_be_overwritten_is_refused_before_anything_is_erased(office: Office) -> None:
    assert run(["consent", "withdraw", "--consent", str(office.path("consent")), "--url", office.url]) == FINE
    other = office.path("other.pdf")
    office.path("link").symlink_to(other)
    office.path("second name").hardlink_to(other)
    for also in ("link", "second name", "missing", "."):
        arguments = [*holder_arguments(office), "--also", office.path(also), "--yes"]
        assert erase(office, *arguments) == NO, also
        assert office.path("report.pdf.proof").exists() and office.path("consent").exists()


def test_a_refused_verification_under_an_erased_consent_stays_refused(office: Office) -> None:
    trust = TrustedRoot(1, make_genesis(), ())
    verifier = Verifier(trust)
    other = make_request(trust, office.now_ms, purpose="another.purpose")
    shown = present(office.proof, other, office.consent, office.consent_key, office.consent_key)
    with pytest.raises(VerificationError) as refused:
        verifier.verify(
            office.path("report.pdf").read_bytes(), shown.encode(), request=other, now_ms=office.now_ms
        )
    assert refused.value.code == "wrong-purpose"


def test_an_overwritten_file_loses_its_bytes_before_its_name(tmp_path: Path) -> None:
    from node.client.erasure import destroy_file
    from node.files.durablefile import PosixFiles

    secret = b"the salt of a document" * 99_999
    path = tmp_path / "file"
    path.write_bytes(secret)
    seen: list[bytes] = []

    class Watching(PosixFiles):
        """The disk, looked at whenever something was synced and before a name goes."""

        def sync(self, descriptor: int) -> None:
            super().sync(descriptor)
            seen.append(path.read_bytes())

        def remove(self, path: Path) -> None:
            assert path.read_bytes() == b""
            super().remove(path)

    destroy_file(path, files=Watching())
    assert seen == [bytes(len(secret)), b""] and not path.exists()


def test_an_issuer_erases_its_copy_and_what_its_register_holds(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    make_homes(office.path("network"))
    home = office.path("network") / ISSUER
    path, chain_id = home / "issued" / REGISTER, Home.open(home).genesis.content.chain_id
    report = office.path("report.pdf")
    with Register.open(path, chain_id=chain_id, issuer=ISSUER) as register:
        draft = draft_of_file(report, schema="hk.credit-report", holder_key=office.holder)
        (issued,) = register.collect([draft], now_ms=office.now_ms)
        register.form_batches(1)
    assert issued.opening is not None
    proof = replace(office.proof, opening=issued.opening)
    office.path("report.pdf.proof").write_bytes(proof.encode())
    capsys.readouterr()
    assert erase(office, "--home", home, "--document", report, "--yes", "--json") == FINE
    assert json.loads(capsys.readouterr().out)["erased"]["register"] is True
    assert not office.path("report.pdf.proof").exists() and not report.exists()
    left = b"".join(file.read_bytes() for file in path.parent.glob("issued*"))
    assert proof.opening.salt not in left and b"report.pdf" not in left
    with Register.open(path, chain_id=chain_id, issuer=ISSUER) as register:
        gone = register.find_commitment(proof.opening.commitment())
        assert gone is not None and gone.opening is None and gone.leaf == 0
        assert register.undelivered_ids() == []
    assert erase(office, "--yes") == USAGE
