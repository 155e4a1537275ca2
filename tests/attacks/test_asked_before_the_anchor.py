"""A time asked about one millisecond before the anchor."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import (
    MINUTE_MS,
    START_MS,
)


def forge(shown: Shown) -> Shown:
    return replace(shown, at_ms=START_MS + MINUTE_MS - 1)


FORGERY = Forgery(honest, forge, step="status", code="not-yet-anchored")


def test_asked_before_the_anchor_is_refused() -> None:
    FORGERY.check()
