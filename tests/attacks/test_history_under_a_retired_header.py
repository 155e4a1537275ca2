"""A history under a header that is itself below the pin."""

from ledger.trust import TrustPath
from tests.attacks.forge import FIRST_SEAL, PLAIN, Forgery, Shown, honest_under_history


def forge(shown: Shown) -> Shown:
    path = TrustPath(0, shown.chain.handovers(0, 2), shown.chain.history(PLAIN, FIRST_SEAL))
    return shown.evidence_with(trust_path=path)


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_history_under_a_retired_header_is_refused() -> None:
    FORGERY.check()
