"""A signer whose index the set does not have."""

from dataclasses import replace

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest


def forge(shown: Shown) -> Shown:
    certificate = certify(shown.chain.tips[PLAIN].encoded_header, SETS[0], signers=(0, 1, 2))
    stranger = replace(certificate.signatures[2], signer=4)
    return shown.evidence_with(
        certificate=replace(certificate, signatures=(*certificate.signatures, stranger))
    )


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_signer_outside_the_set_is_refused() -> None:
    FORGERY.check()
