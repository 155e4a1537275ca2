"""The document without its last byte."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, document=shown.document[:-1])


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_document_cut_is_refused() -> None:
    FORGERY.check()
