"""The forger's own batch, under an anchor leaf that names it at the place of a true one."""

from dataclasses import replace

from ledger.encoding.records import pack
from ledger.proofs import BatchPath
from ledger.trees.merkle import (
    TreePath,
    tree_root,
)
from tests.attacks.forge import Forgery, Shown, decode_anchor, honest
from tests.support.consortium import (
    START_MS,
)


def forge(shown: Shown) -> Shown:
    forged = shown.metadata_with(issued_ms=START_MS + 1)
    root = tree_root([forged.proof.opening.commitment()])
    genuine = decode_anchor(shown)
    value = pack(replace(genuine, root=root, leaf_count=1))
    forged = forged.proof_with(batch=BatchPath(1, TreePath(0, ())), anchor_root=root)
    return forged.evidence_with(anchor=replace(shown.proof.evidence.anchor, value=value)).present()


FORGERY = Forgery(honest, forge, step="anchor", code="anchor-unproven")


def test_anchor_value_rewritten_is_refused() -> None:
    FORGERY.check()
