"""An issuer that was reinstated once, and is suspended again."""

from ledger.rules.state import Suspension
from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(suspensions=(Suspension(0, 0, 1), Suspension(PLAIN, PLAIN, None))))


FORGERY = Forgery(honest, forge, step="issuer", code="issuer-suspended")


def test_issuer_suspended_for_the_second_time_is_refused() -> None:
    FORGERY.check()
