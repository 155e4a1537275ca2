"""The verifier: what an honest proof shows, and every way to be refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.consents import ConsentFile
from ledger.proofs import Proof
from ledger.requests import Request
from ledger.rules.operations import CloseConsent, RecordVerification, RevokeAnchor, RevokeDocument
from ledger.trust import parse_trusted_root, trusted_root_to_json
from ledger.verdicts import REFUSALS, VerificationError
from ledger.verifier import Verifier
from tests.support.node_world import private_key
from tests.support.story import BANK, DAY_MS, ISSUER, RELAY, Story, make_request, tell


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A story that tests only read."""
    story = tell(tmp_path_factory.mktemp("story"))
    yield story
    story.world.close()


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A story that a test may continue."""
    story = tell(tmp_path)
    yield story
    story.world.close()


def one_that_trusts(story: Story) -> Verifier:
    """Return a verifier that has verified the story as it is, and remembers its header, as a bank's does."""
    verifier = Verifier(story.trust)
    verifier.verify(story.document, story.proof.encode(), request=story.request, now_ms=story.now_ms)
    return verifier


def code_of(
    story: Story,
    *,
    document: bytes | None = None,
    proof: Proof | bytes | None = None,
    request: Request | None = None,
    now_ms: int | None = None,
    at_ms: int | None = None,
    verifier: Verifier | None = None,
) -> str:
    """Return the code that a variation of the story is refused with: now, or as of a past time."""
    verifier, asked = verifier or Verifier(story.trust), request or story.request
    shown = story.proof if proof is None else proof
    handed = story.document if document is None else document
    encoded = shown if isinstance(shown, bytes) else shown.encode()
    with pytest.raises(VerificationError) as refused:
        if at_ms is None:
            present_ms = story.now_ms if now_ms is None else now_ms
            verifier.verify(handed, encoded, request=asked, now_ms=present_ms)
        else:
            verifier.verify_as_of(handed, encoded, request=asked, at_ms=at_ms)
    assert refused.value.expected
    assert refused.value.found
    assert refused.value.step == REFUSALS[refused.value.code].step
    return refused.value.code


def test_an_honest_proof_shows_facts_on_separate_axes(told: Story) -> None:
    verdict = Verifier(told.trust).verify(
        told.document, told.proof.encode(), request=told.request, now_ms=told.now_ms
    )
    assert verdict.integrity.size == len(told.document)
    assert verdict.issuer.member == ISSUER
    assert verdict.anchored.schema == "hk.credit-report"
    assert (verdict.consent.recipient, verdict.consent.purpose) == (BANK, "consumer-credit.loan")
    assert (verdict.consent.used, verdict.consent.uses) == (0, 3)
    assert verdict.presented.holder_key == str(told.holder.public)
    assert verdict.trust.height == 0


def test_a_document_may_come_in_pieces_or_as_a_file(told: Story, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(told.document)
    verifier = Verifier(told.trust)
    with path.open("rb") as file:
        from_file = verifier.verify(file, told.proof.encode(), request=told.request, now_ms=told.now_ms)
    pieces = [told.document[:7], told.document[7:]]
    from_pieces = verifier.verify(pieces, told.proof.encode(), request=told.request, now_ms=told.now_ms)
    assert from_file == from_pieces


@pytest.mark.slow
def test_every_bit_of_the_document_counts(told: Story) -> None:
    verifier = one_that_trusts(told)
    for place in range(8 * len(told.document)):
        altered = bytearray(told.document)
        altered[place // 8] ^= 1 << place % 8
        assert code_of(told, document=bytes(altered), verifier=verifier) == "document-altered"


@pytest.mark.slow
@pytest.mark.parametrize("bit", range(8))
def test_every_bit_of_the_proof_counts(told: Story, bit: int) -> None:
    encoded, verifier = told.proof.encode(), one_that_trusts(told)
    codes = set()
    for place in range(len(encoded)):
        altered = bytearray(encoded)
        altered[place] ^= 1 << bit
        codes.add(code_of(told, proof=bytes(altered), verifier=verifier))
    assert {"proof-malformed", "untrusted-header", "not-in-anchor", "holder-signature"} <= codes


def test_decoding_and_encoding_a_proof_gives_the_same_bytes(told: Story) -> None:
    encoded = told.proof.encode()
    assert Proof.decode(encoded).encode() == encoded


@pytest.mark.parametrize("kept", [0, 1, 11, 12, 100, -1])
def test_a_truncated_proof_is_malformed(told: Story, kept: int) -> None:
    assert code_of(told, proof=told.proof.encode()[:kept]) == "proof-malformed"


def test_bytes_after_the_proof_are_malformed(told: Story) -> None:
    assert code_of(told, proof=told.proof.encode() + b"\0") == "proof-malformed"


def test_another_version_of_the_proof_is_refused_as_such(told: Story) -> None:
    encoded = bytearray(told.proof.encode())
    encoded[11] = 3
    with pytest.raises(VerificationError, match="version"):
        Verifier(told.trust).verify_anchor(told.document, bytes(encoded), now_ms=told.now_ms)


def test_another_bank_is_refused(told: Story) -> None:
    request = make_request(told.world, told.trust, recipient="hk-operator", flags=0)
    assert code_of(told, request=request) == "wrong-recipient"


def test_another_purpose_is_refused(told: Story) -> None:
    request = make_request(told.world, told.trust, purpose="account-opening.corporate")
    assert code_of(told, request=request) == "wrong-purpose"


def test_another_kind_of_document_is_refused(told: Story) -> None:
    request = make_request(told.world, told.trust, schemas=("hk.bank-statement",))
    assert code_of(told, request=request) == "request-mismatch"


def test_a_presentation_for_another_request_is_refused(told: Story) -> None:
    request = make_request(told.world, told.trust, nonce=b"another nonce 01")
    assert code_of(told, request=request) == "wrong-nonce"


def test_whoever_found_both_files_cannot_present_them(told: Story) -> None:
    request = make_request(told.world, told.trust, nonce=b"another nonce 01")
    forged = told.present(request, holder=private_key("thief"))
    assert code_of(told, proof=forged, request=request) == "holder-signature"


def test_a_proof_that_was_never_presented_is_refused(told: Story) -> None:
    assert code_of(told, proof=replace(told.proof, presentation=None)) == "not-presented"


def test_a_stale_proof_is_refused_and_a_fresh_one_passes(told: Story) -> None:
    assert code_of(told, now_ms=told.now_ms + 20 * 3_600_000 + DAY_MS) in {"stale-proof", "consent-period"}
    with pytest.raises(VerificationError) as refused:
        Verifier(told.trust).verify_anchor(
            told.document, told.proof.encode(), now_ms=told.now_ms + 2 * DAY_MS
        )
    assert refused.value.code == "stale-proof"


def test_a_time_before_the_anchor_is_refused(told: Story) -> None:
    assert code_of(told, at_ms=told.now_ms - DAY_MS) == "not-yet-anchored"


def test_a_clock_behind_the_proof_is_blamed_and_not_the_document(told: Story) -> None:
    assert code_of(told, now_ms=told.now_ms - DAY_MS) == "clock-behind"


def test_an_expired_document_is_refused(told: Story) -> None:
    assert code_of(told, now_ms=told.now_ms + 60 * DAY_MS) == "document-expired"


def test_a_withdrawn_consent_is_refused_after_refresh(story: Story) -> None:
    story.send(RELAY, story.consent.withdrawal)
    assert code_of(story, proof=story.refreshed()) == "consent-ended"


def test_a_consent_closed_by_the_recipient_is_refused_after_refresh(story: Story) -> None:
    story.send(BANK, CloseConsent(story.consent_key.public, story.consent.consent_id))
    assert code_of(story, proof=story.refreshed()) == "consent-ended"


def test_a_used_up_consent_is_refused_after_refresh(story: Story) -> None:
    for slot in range(3):
        tag = bytes([slot]) * 32
        operation = RecordVerification(
            story.consent_key.public, story.consent.consent_id, slot, tag, "verified"
        )
        story.send(BANK, operation)
    assert code_of(story, proof=story.refreshed()) == "consent-used-up"


def test_a_revoked_anchor_is_refused_after_refresh(story: Story) -> None:
    story.send(ISSUER, RevokeAnchor(story.proof.anchor_root, "error"))
    assert code_of(story, proof=story.refreshed()) == "revoked"


def test_absence_of_a_revocation_cannot_be_shown_once_it_is_recorded(story: Story) -> None:
    before = story.proof.evidence.unrevoked
    story.send(ISSUER, RevokeDocument(story.proof.opening.commitment(), "error"))
    with pytest.raises(Exception, match="revoked"):
        story.refreshed()
    other = replace(story.proof, opening=replace(story.proof.opening))
    assert other.evidence.unrevoked == before


def test_the_anchor_alone_can_be_verified_by_that_name(told: Story) -> None:
    verdict = Verifier(told.trust).verify_anchor(
        told.document, replace(told.proof, presentation=None).encode(), now_ms=told.now_ms
    )
    assert verdict.anchored.height == 1 or verdict.anchored.height > 1
    assert not hasattr(verdict, "consent")


def test_a_trusted_root_survives_its_json_form(told: Story) -> None:
    import json

    text = json.dumps(trusted_root_to_json(told.trust)).encode()
    assert parse_trusted_root(text) == told.trust


def test_a_consent_file_survives_its_bytes_and_holds_its_withdrawal(told: Story) -> None:
    decoded = ConsentFile.decode(told.consent.encode())
    assert decoded == told.consent
    assert decoded.withdrawal.decoded().consent_id == told.consent.consent_id


def test_a_request_fits_in_one_qr_code(told: Story) -> None:
    assert len(told.request.encode()) <= 2_953
    assert Request.decode(told.request.encode()) == told.request


def test_every_refusal_has_its_sentences_in_three_languages() -> None:
    for refusal in REFUSALS.values():
        for sentence in (refusal.meaning, refusal.next_step):
            assert sentence.en
            assert sentence.zh_hans
            assert sentence.zh_hant
