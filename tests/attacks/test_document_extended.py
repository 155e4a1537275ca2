"""The document with a byte more."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, document=shown.document + b"\n")


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_document_extended_is_refused() -> None:
    FORGERY.check()
