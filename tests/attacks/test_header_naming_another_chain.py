"""A header that names another chain, under signatures made on this one."""

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, header_with, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(shown.chain.tips[PLAIN].encoded_header, chain_id=hash_of("another chain"))
    certificate = certify(encoded_header, SETS[0], chain_id=shown.chain.chain_id)
    return shown.evidence_with(header=encoded_header.encoded, certificate=certificate)


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_header_naming_another_chain_is_refused() -> None:
    FORGERY.check()
