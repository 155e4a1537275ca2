"""A path from a checkpoint whose window has not begun."""

from dataclasses import replace

from tests.attacks.forge import NOW_MS, Forgery, Shown, honest_from_checkpoint


def forge(shown: Shown) -> Shown:
    later = tuple(replace(pin, valid_from_ms=NOW_MS + 1) for pin in shown.trust.checkpoints)
    return replace(shown, trust=replace(shown.trust, checkpoints=later))


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_checkpoint_not_yet_valid_is_refused() -> None:
    FORGERY.check()
