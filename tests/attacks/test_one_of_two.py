"""A document taken out of a list of two, shown alone."""

from ledger.presentation import Place, list_tree
from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    tree = list_tree(
        [Place(0, shown.proof.opening.commitment(), None), Place(0, hash_of("another document"), None)]
    )
    signed = shown.present(root=tree.root(), size=2)
    return signed.presentation_with(list_size=2, path=tree.path(0))


FORGERY = Forgery(honest, forge, step="presentation", code="one-of-many")


def test_one_of_two_is_refused() -> None:
    FORGERY.check()
