"""The handovers in the wrong order."""

from tests.attacks.forge import Forgery, Shown, honest_after_handovers


def forge(shown: Shown) -> Shown:
    return shown.path_with(handovers=shown.proof.evidence.trust_path.handovers[::-1])


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_handovers_reversed_is_refused() -> None:
    FORGERY.check()
