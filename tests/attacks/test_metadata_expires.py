"""Metadata with a later expiry."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import DAY_MS, START_MS


def forge(shown: Shown) -> Shown:
    return shown.metadata_with(expires_ms=START_MS + 29 * DAY_MS).present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_metadata_expires_is_refused() -> None:
    FORGERY.check()
