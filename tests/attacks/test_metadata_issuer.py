"""Metadata that names another issuer."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.metadata_with(issuer="mainland-bureau").present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_metadata_issuer_is_refused() -> None:
    FORGERY.check()
