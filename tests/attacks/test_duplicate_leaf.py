"""The odd last leaf of the batch doubled, as trees without carried nodes would have it."""

from dataclasses import replace

from ledger.proofs import BatchPath
from ledger.trees.merkle import (
    Tree,
)
from tests.attacks.forge import BATCH, Forgery, Shown, honest, make_opening


def forge(shown: Shown) -> Shown:
    openings = [make_opening(document) for document in BATCH]
    doubled = Tree([*(opening.commitment() for opening in openings), openings[6].commitment()])
    batch = BatchPath(doubled.size, doubled.path(7))
    return replace(shown.proof_with(opening=openings[6], batch=batch), document=BATCH[6]).present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_duplicate_leaf_is_refused() -> None:
    FORGERY.check()
