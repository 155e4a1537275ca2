"""No document at all."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, document=b"")


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_empty_document_is_refused() -> None:
    FORGERY.check()
