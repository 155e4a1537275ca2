"""A presentation that says after the fact that only a part was shown."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return shown.presentation_with(shown=hash_of("a part"))


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_shown_added_is_refused() -> None:
    FORGERY.check()
