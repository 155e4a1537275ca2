"""A header of another chain with the same validators, under certificates that they signed there."""

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, header_with, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    other = hash_of("another chain")
    sealed = header_with(shown.chain.tips[PLAIN].sealed, chain_id=other)
    return shown.evidence_with(header=sealed.encoded, certificate=certify(sealed, SETS[0]))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_header_of_another_chain_is_refused() -> None:
    FORGERY.check()
