"""A second preimage: the two halves of the content's tree as if they were its only chunk."""

from dataclasses import replace

from ledger.trees.merkle import (
    CHUNK_SIZE,
    content_root,
    leaf_hash,
)
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    long = shown.document.ljust(2 * CHUNK_SIZE)
    halves = (leaf_hash(long[:CHUNK_SIZE]), leaf_hash(long[CHUNK_SIZE:]))
    _, root = content_root([long])
    return replace(shown.opening_with(size=64, content_root=root), document=b"".join(halves))


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_inner_nodes_as_the_document_is_refused() -> None:
    FORGERY.check()
