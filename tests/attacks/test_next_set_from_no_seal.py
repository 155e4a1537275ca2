"""A handover by a genuine final block that is no seal."""

from dataclasses import replace

from tests.attacks.forge import PLAIN, Forgery, Shown, honest_after_handovers


def forge(shown: Shown) -> Shown:
    first, second = shown.proof.evidence.trust_path.handovers
    return shown.path_with(handovers=(replace(first, seal=shown.chain.certified(PLAIN)), second))


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_next_set_from_no_seal_is_refused() -> None:
    FORGERY.check()
