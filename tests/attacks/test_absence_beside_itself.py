"""A revoked document: its own revocation as the other leaf that stands in its place."""

from ledger.trees.statetree import OtherLeaf, value_hash
from tests.attacks.forge import Forgery, Shown, honest, revoked_with


def forge(shown: Shown) -> Shown:
    return revoked_with(shown, lambda key, proven: OtherLeaf(key, value_hash(proven.value)))


FORGERY = Forgery(honest, forge, step="status", code="revocation-unproven")


def test_absence_beside_itself_is_refused() -> None:
    FORGERY.check()
