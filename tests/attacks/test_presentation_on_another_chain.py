"""A presentation made on another chain."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return shown.present(chain_id=hash_of("another chain"))


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_presentation_on_another_chain_is_refused() -> None:
    FORGERY.check()
