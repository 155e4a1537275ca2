"""A genuine notarization, which decides nothing yet."""

from ledger.rules.certificates import NOTARIZE
from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(
        certificate=certify(shown.chain.tips[PLAIN].encoded_header, SETS[0], kind=NOTARIZE)
    )


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_notarization_passed_as_finalization_is_refused() -> None:
    FORGERY.check()
