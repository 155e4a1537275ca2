"""Signatures of the same validators, made on another chain."""

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    encoded_header = shown.chain.tips[PLAIN].encoded_header
    return shown.evidence_with(
        certificate=certify(encoded_header, SETS[0], chain_id=hash_of("another chain"))
    )


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_certificate_of_another_chain_is_refused() -> None:
    FORGERY.check()
