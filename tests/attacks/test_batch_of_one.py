"""The commitment itself passed as the root of a batch of one."""

from ledger.proofs import BatchPath
from ledger.trees.merkle import TreePath
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    commitment = shown.proof.opening.commitment()
    return shown.proof_with(batch=BatchPath(1, TreePath(0, ())), anchor_root=commitment)


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_batch_of_one_is_refused() -> None:
    FORGERY.check()
