"""A path said to start at a later epoch than it does."""

from tests.attacks.forge import Forgery, Shown, honest_from_checkpoint


def forge(shown: Shown) -> Shown:
    return shown.path_with(from_epoch=0)


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_path_start_moved_is_refused() -> None:
    FORGERY.check()
