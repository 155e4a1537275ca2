"""A header that names strangers as its validators, and is signed by them."""

from tests.attacks.forge import PLAIN, STRANGERS, Forgery, Shown, certify, header_with, honest


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(shown.chain.tips[PLAIN].encoded_header, validators_hash=STRANGERS.digest())
    return shown.evidence_with(header=encoded_header.encoded, certificate=certify(encoded_header, STRANGERS))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_validator_set_swapped_is_refused() -> None:
    FORGERY.check()
