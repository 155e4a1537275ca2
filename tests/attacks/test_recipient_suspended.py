"""A recipient that is suspended as of the header."""

from ledger.rules.state import Suspension
from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(recipient_suspensions=(Suspension(PLAIN, PLAIN, None),)))


FORGERY = Forgery(honest, forge, step="consent", code="recipient-suspended")


def test_recipient_suspended_is_refused() -> None:
    FORGERY.check()
