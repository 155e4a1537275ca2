"""Genuine signatures of a quorum, one of them under another validator's index."""

from dataclasses import replace

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest


def forge(shown: Shown) -> Shown:
    certificate = certify(shown.chain.tips[PLAIN].encoded_header, SETS[0], signers=(0, 1, 2))
    first, second, third = certificate.signatures
    return shown.evidence_with(
        certificate=replace(certificate, signatures=(first, second, replace(third, signer=3)))
    )


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_signature_under_another_index_is_refused() -> None:
    FORGERY.check()
