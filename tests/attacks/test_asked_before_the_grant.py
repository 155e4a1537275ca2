"""A time asked about after the anchor and before the grant was recorded."""

from dataclasses import replace

from ledger.rules.state import Granted
from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_consent, make_scene, show
from tests.support.consortium import (
    MINUTE_MS,
    START_MS,
    make_terms,
)


def forge(shown: Shown) -> Shown:
    late = replace(make_consent(), granted=Granted(make_terms(), PLAIN, START_MS + 2 * MINUTE_MS))
    return replace(show(make_scene(consent=late)), at_ms=START_MS + 2 * MINUTE_MS - 1)


FORGERY = Forgery(honest, forge, step="consent", code="consent-period")


def test_asked_before_the_grant_is_refused() -> None:
    FORGERY.check()
