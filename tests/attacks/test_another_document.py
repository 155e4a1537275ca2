"""Another genuine document of the batch, of the same size, under this one's proof."""

from dataclasses import replace

from tests.attacks.forge import BATCH, Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, document=BATCH[1].ljust(len(shown.document)))


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_another_document_is_refused() -> None:
    FORGERY.check()
