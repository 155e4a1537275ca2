"""An anchor within a distrusted interval that is over: reinstatement does not mend it."""

from ledger.rules.state import Suspension
from tests.attacks.forge import PLAIN, RECORDED, Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(suspensions=(Suspension(RECORDED, RECORDED, PLAIN),)))


FORGERY = Forgery(honest, forge, step="issuer", code="anchor-distrusted")


def test_anchored_in_an_earlier_interval_is_refused() -> None:
    FORGERY.check()
