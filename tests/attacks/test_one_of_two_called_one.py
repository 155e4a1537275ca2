"""A document taken out of a list of two, in a presentation that calls it a list of one."""

from ledger.presentation import Place, list_tree
from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    tree = list_tree(
        [Place(0, shown.proof.opening.commitment(), None), Place(0, hash_of("another document"), None)]
    )
    return shown.present(root=tree.root(), size=2)


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_one_of_two_called_one_is_refused() -> None:
    FORGERY.check()
