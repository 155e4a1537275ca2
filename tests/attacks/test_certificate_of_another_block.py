"""The genuine certificate of the block before."""

from tests.attacks.forge import RECORDED, Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(certificate=shown.chain.certified(RECORDED).certificate)


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_certificate_of_another_block_is_refused() -> None:
    FORGERY.check()
