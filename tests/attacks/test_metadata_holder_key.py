"""Metadata with a thief's key in the place of the holder's."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import key_of


def forge(shown: Shown) -> Shown:
    thief = key_of("thief")
    return shown.metadata_with(holder_key=thief.public).present(holder=thief)


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_metadata_holder_key_is_refused() -> None:
    FORGERY.check()
