"""A path that starts at an epoch which the bank never pinned."""

from tests.attacks.forge import Forgery, Shown, honest_from_checkpoint


def forge(shown: Shown) -> Shown:
    return shown.path_with(from_epoch=1, handovers=shown.chain.handovers(1, 2))


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_path_from_no_pin_is_refused() -> None:
    FORGERY.check()
