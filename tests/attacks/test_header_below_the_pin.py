"""A genuine old header by its own certificate, below the pin: retired validators' keys leak."""

from ledger.trust import TrustPath
from tests.attacks.forge import PLAIN, Forgery, Shown, honest_under_history


def forge(shown: Shown) -> Shown:
    certified = shown.chain.certified(PLAIN)
    path = TrustPath(0, shown.chain.handovers(0, 2), None)
    return shown.evidence_with(certificate=certified.certificate, trust_path=path)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_header_below_the_pin_is_refused() -> None:
    FORGERY.check()
