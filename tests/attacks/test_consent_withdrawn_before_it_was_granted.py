"""A consent whose withdrawal arrived first."""

from ledger.rules.state import Ended
from tests.attacks.forge import RECORDED, Forgery, Shown, honest, make_consent, make_scene, show
from tests.support.consortium import MINUTE_MS, START_MS


def forge(shown: Shown) -> Shown:
    ended = Ended("holder", RECORDED, START_MS + MINUTE_MS)
    return show(make_scene(consent=make_consent(granted=False, ended=ended)))


FORGERY = Forgery(honest, forge, step="consent", code="consent-ended")


def test_consent_withdrawn_before_it_was_granted_is_refused() -> None:
    FORGERY.check()
