"""A header of another chain with the same validators, under certificates that they signed there."""

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, header_with, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    other = hash_of("another chain")
    encoded_header = header_with(shown.chain.tips[PLAIN].encoded_header, chain_id=other)
    return shown.evidence_with(header=encoded_header.encoded, certificate=certify(encoded_header, SETS[0]))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_header_of_another_chain_is_refused() -> None:
    FORGERY.check()
