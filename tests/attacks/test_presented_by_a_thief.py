"""Whoever found both files presents them with a key of his own."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import key_of


def forge(shown: Shown) -> Shown:
    return shown.present(holder=key_of("thief"))


FORGERY = Forgery(honest, forge, step="presentation", code="holder-signature")


def test_presented_by_a_thief_is_refused() -> None:
    FORGERY.check()
