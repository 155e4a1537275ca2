"""A header of an epoch between two pins, by its own certificate."""

from dataclasses import replace

from ledger.trust import TrustPath
from tests.attacks.forge import MIDDLE, Forgery, Shown, honest_from_checkpoint


def forge(shown: Shown) -> Shown:
    pins = (shown.chain.checkpoint(MIDDLE), *shown.trust.checkpoints)
    forged = replace(shown, trust=replace(shown.trust, checkpoints=pins))
    certified = shown.chain.certified(MIDDLE)
    return forged.evidence_with(
        header=certified.header,
        certificate=certified.certificate,
        trust_path=TrustPath(1, (), None),
    )


FORGERY = Forgery(honest_from_checkpoint, forge, step="trust", code="untrusted-header")


def test_older_pin_below_a_newer_one_is_refused() -> None:
    FORGERY.check()
