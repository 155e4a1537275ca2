"""A forged document with an opening that fits it: no batch holds its commitment."""

from dataclasses import replace

from ledger.trees.merkle import (
    content_root,
)
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    forged = shown.document.replace(b"SAMPLE", b"FORGED")
    size, root = content_root([forged])
    return replace(shown.opening_with(size=size, content_root=root), document=forged).present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_forged_document_is_refused() -> None:
    FORGERY.check()
