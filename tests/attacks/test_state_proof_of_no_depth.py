"""A state proof of no depth: as if the anchor were the whole state."""

from dataclasses import replace

from ledger.trees.statetree import InclusionProof
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    anchor = shown.proof.evidence.anchor
    return shown.evidence_with(anchor=replace(anchor, proof=InclusionProof(0, b"", ())))


FORGERY = Forgery(honest, forge, step="anchor", code="anchor-unproven")


def test_state_proof_of_no_depth_is_refused() -> None:
    FORGERY.check()
