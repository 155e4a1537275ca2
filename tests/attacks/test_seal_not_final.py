"""A handover by a seal that is notarized only."""

from dataclasses import replace

from ledger.rules.certificates import NOTARIZE
from tests.attacks.forge import FIRST_SEAL, SETS, Forgery, Shown, certify, honest_after_handovers


def forge(shown: Shown) -> Shown:
    first, second = shown.proof.evidence.trust_path.handovers
    certificate = certify(shown.chain.tips[FIRST_SEAL].encoded_header, SETS[0], kind=NOTARIZE)
    return shown.path_with(
        handovers=(replace(first, seal=replace(first.seal, certificate=certificate)), second)
    )


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_seal_not_final_is_refused() -> None:
    FORGERY.check()
