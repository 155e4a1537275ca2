"""Genuine signatures over this block's hash in another epoch."""

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(certificate=certify(shown.chain.tips[PLAIN].encoded_header, SETS[0], epoch=1))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_certificate_of_another_epoch_is_refused() -> None:
    FORGERY.check()
