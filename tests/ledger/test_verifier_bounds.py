"""The verifier at its edges: what verifies by a hair, what it answers, and what its inputs may be."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger.rules.state import Suspension
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from tests.attacks.edges import EDGES, HONEST, shown_by
from tests.attacks.forge import (
    BANK,
    DOCUMENT,
    HOLDER,
    ISSUER,
    NOW_MS,
    PLAIN,
    RECORDED,
    Shown,
    honest,
    honest_bearer,
    honest_of_suspended_issuer,
    honest_under_history,
    make_scene,
    show,
)
from tests.support.asking import BODY
from tests.support.consortium import DAY_MS, LOAN, MINUTE_MS, REPORT, START_MS, hash_of


@pytest.mark.parametrize("make", [*HONEST, *EDGES], ids=lambda make: make.__name__)
def test_what_keeps_every_rule_verifies(make: Callable[[], Shown]) -> None:
    shown = shown_by(make)
    verdict = shown.verify()
    alone = shown.verify_anchor()
    assert verdict.anchored == alone.anchored
    assert (verdict.integrity, verdict.issuer) == (alone.integrity, alone.issuer)
    assert (verdict.status, verdict.trust) == (alone.status, alone.trust)


def test_a_verdict_states_each_fact_on_its_own_axis() -> None:
    shown = honest()
    verdict = shown.verify()
    issuer = shown.chain.member(ISSUER)
    assert verdict.integrity.media_type == "application/pdf"
    assert verdict.integrity.size == len(DOCUMENT)
    assert verdict.integrity.commitment == shown.proof.opening.commitment()
    assert verdict.issuer.member == ISSUER
    assert (verdict.issuer.name_zh_hans, verdict.issuer.name_zh_hant, verdict.issuer.name_en) == (
        issuer.name_zh_hans,
        issuer.name_zh_hant,
        issuer.name_en,
    )
    assert not verdict.issuer.is_suspended
    assert verdict.anchored.root == shown.proof.anchor_root
    assert (verdict.anchored.schema, verdict.anchored.height) == (REPORT, RECORDED)
    assert verdict.anchored.time_ms == START_MS + MINUTE_MS
    assert verdict.anchored.issued_ms == START_MS
    assert verdict.anchored.expires_ms == START_MS + 30 * DAY_MS
    assert (verdict.status.height, verdict.status.time_ms) == (PLAIN, START_MS + 2 * MINUTE_MS)
    assert verdict.status.age_ms == NOW_MS - verdict.status.time_ms
    assert verdict.consent.consent_id == hash_of("consent id")
    assert (verdict.consent.recipient, verdict.consent.purpose) == (BANK, LOAN)
    assert (verdict.consent.used, verdict.consent.uses) == (0, 2)
    assert verdict.consent.until_ms == START_MS + 30 * DAY_MS
    assert (verdict.presented.nonce, verdict.presented.holder_key) == (BODY.nonce, str(HOLDER.public))
    assert (verdict.trust.chain_id, verdict.trust.epoch, verdict.trust.height) == (shown.chain.chain_id, 0, 0)


def test_a_suspended_issuer_that_is_accepted_is_shown_as_suspended() -> None:
    assert honest_of_suspended_issuer().verify().issuer.is_suspended


def test_a_bearer_document_is_presented_by_no_holder_key() -> None:
    assert honest_bearer().verify().presented.holder_key is None


def test_a_time_before_the_header_has_no_age() -> None:
    assert replace(honest(), at_ms=START_MS + MINUTE_MS).verify().status.age_ms == 0


def test_age_counts_from_the_header_whose_state_is_shown() -> None:
    assert honest_under_history().verify().status.age_ms == NOW_MS - (START_MS + 2 * MINUTE_MS)


def test_a_document_comes_as_bytes_as_a_file_or_in_pieces() -> None:
    shown = honest()
    verifier = Verifier(shown.trust)
    forms = (DOCUMENT, io.BytesIO(DOCUMENT), [DOCUMENT[:1], b"", DOCUMENT[1:]], iter([DOCUMENT]))
    verdicts = [
        verifier.verify(form, shown.proof_bytes, request=shown.request, now_ms=shown.at_ms) for form in forms
    ]
    assert verdicts == [shown.verify()] * len(forms)


def test_a_proof_of_the_anchor_needs_neither_consent_nor_presentation() -> None:
    bare = honest().proof_with(presentation=None).evidence_with(consent=None)
    assert bare.verify_anchor() == honest().verify_anchor()
    with pytest.raises(VerificationError) as refused:
        bare.verify()
    assert refused.value.code == "not-presented"


def test_a_refusal_says_when_the_issuer_was_last_suspended() -> None:
    twice = (Suspension(0, 0, RECORDED), Suspension(PLAIN, PLAIN, None))
    with pytest.raises(VerificationError) as refused:
        show(make_scene(suspensions=twice)).verify()
    assert (refused.value.code, refused.value.found) == ("issuer-suspended", f"suspended at height {PLAIN}")


def test_a_trusted_root_that_is_none_makes_no_verifier() -> None:
    shown = honest()
    unsigned = replace(shown.trust.genesis, signatures=shown.trust.genesis.signatures[1:])
    with pytest.raises(Exception, match="genesis signatures"):
        Verifier(replace(shown.trust, genesis=unsigned))
