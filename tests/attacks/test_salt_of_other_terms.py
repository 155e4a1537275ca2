"""A presentation with a salt that does not open the terms of the consent."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return shown.presentation_with(terms_salt=hash_of("another salt"))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_salt_of_other_terms_is_refused() -> None:
    FORGERY.check()
