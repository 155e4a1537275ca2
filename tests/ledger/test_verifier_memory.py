"""What a verifier remembers: headers that it trusted, by all they were trusted by. The twin is a fresh verifier."""

from dataclasses import replace

import pytest

from ledger import verifier as verifier_module
from ledger.rules.certificates import QuorumCertificate, SignedBy
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from tests.attacks.forge import (
    Shown,
    honest,
    honest_after_handovers,
    honest_bearer,
    honest_from_checkpoint,
    honest_under_history,
)

HONEST = (honest, honest_after_handovers, honest_from_checkpoint, honest_under_history, honest_bearer)


def ask(verifier: Verifier, shown: Shown, at_ms: int | None = None) -> object:
    when = shown.at_ms if at_ms is None else at_ms
    try:
        return verifier.verify_as_of(shown.document, shown.proof_bytes, request=shown.request, at_ms=when)
    except VerificationError as refused:
        return refused.code, refused.where


def fresh(shown: Shown) -> Verifier:
    return Verifier(shown.trust)


@pytest.mark.parametrize("show", HONEST)
def test_a_remembered_header_changes_no_answer(show: object) -> None:
    assert callable(show)
    shown = show()
    verifier = fresh(shown)
    first = ask(verifier, shown)
    assert verifier._trusted
    assert ask(verifier, shown) == first == ask(fresh(shown), shown)


def test_a_remembered_header_vouches_for_no_other_certificate() -> None:
    shown = honest()
    verifier = fresh(shown)
    ask(verifier, shown)
    certificate = shown.proof.evidence.certificate
    assert certificate is not None
    first, *others = certificate.signatures
    forged: QuorumCertificate = replace(certificate, signatures=(SignedBy(first.signer, bytes(64)), *others))
    spoilt = shown.evidence_with(certificate=forged)
    answer = ask(verifier, spoilt)
    assert answer == ask(fresh(shown), spoilt)
    assert isinstance(answer, tuple) and answer[0] == "untrusted-header"
    assert len(verifier._trusted) == 1, "what was refused is not remembered"


def test_a_remembered_header_does_not_outlive_the_window_of_its_pin() -> None:
    shown = honest_from_checkpoint()
    verifier = fresh(shown)
    ask(verifier, shown)
    (checkpoint, *_) = shown.trust.checkpoints
    for at_ms in (checkpoint.valid_from_ms - 1, checkpoint.valid_until_ms + 1):
        assert ask(verifier, shown, at_ms) == ask(fresh(shown), shown, at_ms)


def test_so_many_headers_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, other = honest(), honest_after_handovers()
    assert shown.trust == other.trust
    monkeypatch.setattr(verifier_module, "HEADERS_REMEMBERED_MAX", 1)
    verifier = fresh(shown)
    for each in (shown, other, shown):
        assert ask(verifier, each) == ask(fresh(each), each)
        assert len(verifier._trusted) == 1


@pytest.mark.parametrize("fewer", [0, 1])
def test_a_path_past_its_limit_is_verified_each_time(monkeypatch: pytest.MonkeyPatch, fewer: int) -> None:
    shown = honest_after_handovers()
    count = len(shown.proof.evidence.trust_path.handovers)
    monkeypatch.setattr(verifier_module, "HANDOVERS_REMEMBERED_MAX", count - fewer)
    verifier = fresh(shown)
    ask(verifier, shown)
    assert len(verifier._trusted) == 1 - fewer


def test_a_remembered_leaf_vouches_for_no_other_value_key_root_or_proof() -> None:
    shown = honest()
    verifier = fresh(shown)
    ask(verifier, shown)
    evidence = shown.proof.evidence
    proof = evidence.issuer.proof
    spoilt_sibling = bytes([proof.siblings[0][0] ^ 1]) + proof.siblings[0][1:]
    others = (
        replace(evidence.issuer, value=evidence.anchor.value),
        replace(evidence.issuer, proof=evidence.anchor.proof),
        replace(evidence.issuer, proof=replace(proof, siblings=(spoilt_sibling, *proof.siblings[1:]))),
    )
    for other in others:
        spoilt = shown.evidence_with(issuer=other)
        answer = ask(verifier, spoilt)
        assert answer == ask(fresh(shown), spoilt)
        assert isinstance(answer, tuple) and answer[0] == "issuer-unproven"
