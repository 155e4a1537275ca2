"""A revoked document of the batch, with the absence of its neighbour's revocation."""

from dataclasses import replace

from ledger.proofs import BatchPath
from ledger.trees.merkle import (
    Tree,
)
from tests.attacks.forge import BATCH, Forgery, Shown, honest, make_opening


def forge(shown: Shown) -> Shown:
    opening, tree = make_opening(BATCH[3]), Tree([make_opening(document).commitment() for document in BATCH])
    revoked = shown.proof_with(opening=opening, batch=BatchPath(tree.size, tree.path(3)))
    return replace(revoked, document=BATCH[3]).present()


FORGERY = Forgery(honest, forge, step="status", code="revocation-unproven")


def test_absence_by_a_near_key_is_refused() -> None:
    FORGERY.check()
