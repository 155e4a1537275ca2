"""A consent that ended at the very time asked about, which lies before the header's."""

from dataclasses import replace

from ledger.rules.state import Ended
from tests.attacks.forge import RECORDED, Forgery, Shown, honest, make_consent, make_scene, show
from tests.support.consortium import (
    MINUTE_MS,
    START_MS,
)


def forge(shown: Shown) -> Shown:
    ended = Ended("holder", RECORDED, START_MS + MINUTE_MS)
    return replace(show(make_scene(consent=make_consent(ended=ended))), at_ms=START_MS + MINUTE_MS)


FORGERY = Forgery(honest, forge, step="consent", code="consent-ended")


def test_consent_withdrawn_before_the_time_asked_about_is_refused() -> None:
    FORGERY.check()
