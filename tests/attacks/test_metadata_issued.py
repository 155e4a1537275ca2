"""Metadata with a later time of issue."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import START_MS


def forge(shown: Shown) -> Shown:
    return shown.metadata_with(issued_ms=START_MS + 1).present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_metadata_issued_is_refused() -> None:
    FORGERY.check()
