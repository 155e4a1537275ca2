"""A header signed by the right validators that names another set as its own."""

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, header_with, honest


def forge(shown: Shown) -> Shown:
    encoded_header = header_with(shown.chain.tips[PLAIN].encoded_header, validators_hash=SETS[1].digest())
    return shown.evidence_with(header=encoded_header.encoded, certificate=certify(encoded_header, SETS[0]))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_header_names_another_set_is_refused() -> None:
    FORGERY.check()
