"""Metadata that names another kind of document."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import NOTICE


def forge(shown: Shown) -> Shown:
    return shown.metadata_with(schema=NOTICE).present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_metadata_schema_is_refused() -> None:
    FORGERY.check()
