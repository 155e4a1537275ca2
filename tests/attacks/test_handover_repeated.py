"""A seal that hands over twice."""

from tests.attacks.forge import Forgery, Shown, honest_after_handovers


def forge(shown: Shown) -> Shown:
    first, second = shown.proof.evidence.trust_path.handovers
    return shown.path_with(handovers=(first, first, second))


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_handover_repeated_is_refused() -> None:
    FORGERY.check()
