"""A header of the third epoch, signed by the validators of the first."""

from tests.attacks.forge import SETS, TIP, Forgery, Shown, certify, honest_after_handovers


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(certificate=certify(shown.chain.tips[TIP].encoded_header, SETS[0]))


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_signers_of_another_epoch_is_refused() -> None:
    FORGERY.check()
