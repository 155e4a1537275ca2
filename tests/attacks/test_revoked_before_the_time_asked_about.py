"""A revoked anchor, at a time asked about before the revocation: a revocation counts at all times."""

from dataclasses import replace

from ledger.rules.state import Revoked
from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_scene, show
from tests.support.consortium import (
    MINUTE_MS,
    START_MS,
)


def forge(shown: Shown) -> Shown:
    late = Revoked("fraud", PLAIN, START_MS + 2 * MINUTE_MS)
    return replace(show(make_scene(anchor={"revoked": late})), at_ms=START_MS + MINUTE_MS)


FORGERY = Forgery(honest, forge, step="status", code="revoked")


def test_revoked_before_the_time_asked_about_is_refused() -> None:
    FORGERY.check()
