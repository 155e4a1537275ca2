"""A certificate in which one validator signs twice to reach the quorum."""

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest


def forge(shown: Shown) -> Shown:
    encoded_header = shown.chain.tips[PLAIN].encoded_header
    return shown.evidence_with(certificate=certify(encoded_header, SETS[0], signers=(0, 1, 1)))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_duplicate_signer_is_refused() -> None:
    FORGERY.check()
