"""Metadata that names an issuer whose name differs by one character."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.metadata_with(issuer="hk-bureau1").present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_metadata_look_alike_issuer_is_refused() -> None:
    FORGERY.check()
