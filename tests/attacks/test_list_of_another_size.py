"""A list that is said to be longer than the path allows."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.presentation_with(list_size=2)


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_list_of_another_size_is_refused() -> None:
    FORGERY.check()
