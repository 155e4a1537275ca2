"""A path from a checkpoint whose window is over."""

from dataclasses import replace

from tests.attacks.forge import NOW_MS, Forgery, Shown, honest_from_checkpoint


def forge(shown: Shown) -> Shown:
    expired = tuple(replace(pin, valid_until_ms=NOW_MS - 1) for pin in shown.trust.checkpoints)
    return replace(shown, trust=replace(shown.trust, checkpoints=expired))


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_checkpoint_expired_is_refused() -> None:
    FORGERY.check()
