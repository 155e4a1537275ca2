"""A history path whose index is another block's."""

from tests.attacks.forge import MIDDLE, TIP, Forgery, Shown, honest_under_history


def forge(shown: Shown) -> Shown:
    return shown.path_with(history=shown.chain.history(MIDDLE, TIP))


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_history_at_another_index_is_refused() -> None:
    FORGERY.check()
