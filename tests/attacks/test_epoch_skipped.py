"""A path without its first handover: the second seal is not signed by the set of the first epoch."""

from tests.attacks.forge import Forgery, Shown, honest_after_handovers


def forge(shown: Shown) -> Shown:
    return shown.path_with(handovers=shown.proof.evidence.trust_path.handovers[1:])


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_epoch_skipped_is_refused() -> None:
    FORGERY.check()
