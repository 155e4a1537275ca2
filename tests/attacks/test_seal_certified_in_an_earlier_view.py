"""A seal with a certificate of a view before its own."""

from dataclasses import replace

from tests.attacks.forge import FIRST_SEAL, SETS, Forgery, Shown, certify, honest_after_handovers


def forge(shown: Shown) -> Shown:
    encoded_header = shown.chain.tips[FIRST_SEAL].encoded_header
    certificate = certify(encoded_header, SETS[0], view=encoded_header.header.view - 1)
    first, second = shown.proof.evidence.trust_path.handovers
    return shown.path_with(
        handovers=(replace(first, seal=replace(first.seal, certificate=certificate)), second)
    )


FORGERY = Forgery(honest_after_handovers, forge, step="trust", code="untrusted-header")


def test_seal_certified_in_an_earlier_view_is_refused() -> None:
    FORGERY.check()
