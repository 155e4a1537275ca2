"""A document whose whole anchor is revoked."""

from ledger.rules.state import Revoked
from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_scene, show
from tests.support.consortium import MINUTE_MS, START_MS


def forge(shown: Shown) -> Shown:
    return show(make_scene(anchor={"revoked": Revoked("fraud", PLAIN, START_MS + 2 * MINUTE_MS)}))


FORGERY = Forgery(honest, forge, step="status", code="revoked")


def test_anchor_revoked_is_refused() -> None:
    FORGERY.check()
