"""One bit of the document."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, flipped, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, document=flipped(shown.document, 40))


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_one_bit_of_the_document_is_refused() -> None:
    FORGERY.check()
