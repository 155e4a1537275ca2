"""A genuine certificate over this block in a later view: only a seal is finalized in a view that is not its own."""

from tests.attacks.forge import PLAIN, SETS, Forgery, Shown, certify, honest


def forge(shown: Shown) -> Shown:
    encoded_header = shown.chain.tips[PLAIN].encoded_header
    return shown.evidence_with(
        certificate=certify(encoded_header, SETS[0], view=encoded_header.header.view + 1)
    )


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_certificate_of_another_view_is_refused() -> None:
    FORGERY.check()
