"""The absence that a state without leaves would show."""

from ledger.trees.statetree import AbsenceProof
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(unrevoked=AbsenceProof(0, b"", (), None))


FORGERY = Forgery(honest, forge, step="status", code="revocation-unproven")


def test_absence_in_an_empty_state_is_refused() -> None:
    FORGERY.check()
