"""A document padded with zeros, and an opening that states the padded size and content."""

from dataclasses import replace

from ledger.trees.merkle import (
    content_root,
)
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    padded = shown.document + bytes(16)
    size, root = content_root([padded])
    return replace(shown.opening_with(size=size, content_root=root), document=padded)


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_size_lies_with_the_document_is_refused() -> None:
    FORGERY.check()
