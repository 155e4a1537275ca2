"""A consent that the recipient closed."""

from ledger.rules.state import Ended
from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_consent, make_scene, show
from tests.support.consortium import MINUTE_MS, START_MS


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(ended=Ended("recipient", PLAIN, START_MS + 2 * MINUTE_MS))))


FORGERY = Forgery(honest, forge, step="consent", code="consent-ended")


def test_consent_closed_is_refused() -> None:
    FORGERY.check()
