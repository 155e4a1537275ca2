"""A document that expires after the latest expiry of its anchor."""

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show
from tests.support.consortium import DAY_MS, START_MS


def forge(shown: Shown) -> Shown:
    return show(make_scene(metadata={"expires_ms": START_MS + 30 * DAY_MS + 1}))


FORGERY = Forgery(honest, forge, step="anchor", code="metadata-mismatch")


def test_expiry_beyond_the_anchor_is_refused() -> None:
    FORGERY.check()
