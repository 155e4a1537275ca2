"""A presentation that names a receipt to which the holder did not agree."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return shown.presentation_with(receipt_hash=hash_of("another receipt"))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_receipt_of_other_terms_is_refused() -> None:
    FORGERY.check()
