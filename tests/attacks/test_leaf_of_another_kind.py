"""Another leaf of the state, proven, in the place of the anchor."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(anchor=shown.proof.evidence.issuer)


FORGERY = Forgery(honest, forge, step="anchor", code="anchor-unproven")


def test_leaf_of_another_kind_is_refused() -> None:
    FORGERY.check()
