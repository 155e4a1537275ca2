"""An anchor within the distrusted interval, in the mode that accepts those before it."""

from dataclasses import replace

from ledger.rules.state import Suspension
from tests.attacks.forge import PLAIN, RECORDED, Forgery, Shown, honest_of_suspended_issuer, make_scene, show


def forge(shown: Shown) -> Shown:
    scene = make_scene(suspensions=(Suspension(RECORDED, PLAIN, None),))
    return replace(show(scene), suspended_issuer=shown.suspended_issuer)


FORGERY = Forgery(honest_of_suspended_issuer, forge, step="issuer", code="anchor-distrusted")


def test_anchored_after_distrust_began_is_refused() -> None:
    FORGERY.check()
