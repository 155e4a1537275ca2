"""A bit of a sibling in the anchor's state proof."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, flipped, honest


def forge(shown: Shown) -> Shown:
    anchor = shown.proof.evidence.anchor
    first, *others = anchor.proof.siblings
    altered = replace(anchor.proof, siblings=(flipped(first), *others))
    return shown.evidence_with(anchor=replace(anchor, proof=altered))


FORGERY = Forgery(honest, forge, step="anchor", code="anchor-unproven")


def test_state_sibling_altered_is_refused() -> None:
    FORGERY.check()
