"""An anchor within the first of two distrusted intervals that are both over."""

from ledger.rules.state import Suspension
from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(suspensions=(Suspension(0, 1, PLAIN), Suspension(PLAIN, PLAIN, PLAIN))))


FORGERY = Forgery(honest, forge, step="issuer", code="anchor-distrusted")


def test_anchored_in_one_of_two_intervals_is_refused() -> None:
    FORGERY.check()
