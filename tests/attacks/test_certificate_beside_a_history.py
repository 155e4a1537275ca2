"""A certificate where the history carries the trust: nothing would check it."""

from tests.attacks.forge import PLAIN, Forgery, Shown, honest_under_history


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(certificate=shown.chain.certified(PLAIN).certificate)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_certificate_beside_a_history_is_refused() -> None:
    FORGERY.check()
