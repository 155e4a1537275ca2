"""A genuine handover more than the header needs: bytes that carry nothing."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.path_with(handovers=shown.chain.handovers(0, 1))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_handover_beyond_the_header_is_refused() -> None:
    FORGERY.check()
