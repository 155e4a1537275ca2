"""A batch of the forger's own, which nobody anchored, with the leaf of one that was."""

from ledger.proofs import BatchPath
from ledger.trees.merkle import TreePath, tree_root
from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import START_MS


def forge(shown: Shown) -> Shown:
    forged = shown.metadata_with(issued_ms=START_MS + 1)
    commitment = forged.proof.opening.commitment()
    root = tree_root([commitment])
    return forged.proof_with(batch=BatchPath(1, TreePath(0, ())), anchor_root=root).present()


FORGERY = Forgery(honest, forge, step="anchor", code="anchor-unproven")


def test_batch_never_anchored_is_refused() -> None:
    FORGERY.check()
