"""Metadata without a holder key, as if the document were a bearer's."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.metadata_with(holder_key=None).present(holder=None)


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_metadata_without_holder_key_is_refused() -> None:
    FORGERY.check()
