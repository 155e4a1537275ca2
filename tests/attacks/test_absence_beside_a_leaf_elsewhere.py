"""A revoked document: a leaf whose key belongs elsewhere, as what stands in its place."""

from ledger.trees.statetree import OtherLeaf, value_hash
from tests.attacks.forge import Forgery, Shown, flipped, honest, revoked_with


def forge(shown: Shown) -> Shown:
    return revoked_with(shown, lambda key, proven: OtherLeaf(flipped(key), value_hash(proven.value)))


FORGERY = Forgery(honest, forge, step="status", code="revocation-unproven")


def test_absence_beside_a_leaf_elsewhere_is_refused() -> None:
    FORGERY.check()
