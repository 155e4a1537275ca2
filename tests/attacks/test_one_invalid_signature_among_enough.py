"""Four signatures of which three would do, the last of them invalid."""

from dataclasses import replace

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, flipped, honest


def forge(shown: Shown) -> Shown:
    certificate = certify(shown.chain.tips[PLAIN].encoded_header, SETS[0], signers=(0, 1, 2, 3))
    *valid, last = certificate.signatures
    invalid = replace(last, signature=flipped(last.signature))
    return shown.evidence_with(certificate=replace(certificate, signatures=(*valid, invalid)))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_one_invalid_signature_among_enough_is_refused() -> None:
    FORGERY.check()
