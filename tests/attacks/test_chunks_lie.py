"""A content root over chunks of another size."""

from ledger.trees.merkle import tree_root
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    middle = len(shown.document) // 2
    root = tree_root([shown.document[:middle], shown.document[middle:]])
    return shown.opening_with(content_root=root)


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_chunks_lie_is_refused() -> None:
    FORGERY.check()
