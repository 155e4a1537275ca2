"""An issuer suspended as of the header, whose anchor is older: refused unless the bank asks for it by name."""

from ledger.rules.state import Suspension
from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(suspensions=(Suspension(PLAIN, PLAIN, None),)))


FORGERY = Forgery(honest, forge, step="issuer", code="issuer-suspended")


def test_issuer_suspended_after_the_anchor_is_refused() -> None:
    FORGERY.check()
