"""Metadata without the expiry."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.metadata_with(expires_ms=None).present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_metadata_never_expires_is_refused() -> None:
    FORGERY.check()
