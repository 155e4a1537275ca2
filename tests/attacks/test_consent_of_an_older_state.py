"""A consent withdrawn by now, with its leaf and proof of before."""

from ledger.rules.state import Ended
from tests.attacks.forge import PLAIN, RECORDED, Forgery, Shown, honest, make_consent, make_scene, moved, show
from tests.support.consortium import MINUTE_MS, START_MS


def forge(shown: Shown) -> Shown:
    withdrawn = make_consent(ended=Ended("holder", PLAIN, START_MS + 2 * MINUTE_MS))
    return moved(show(make_scene(later=(withdrawn,)), RECORDED), PLAIN, keep=("consent",))


FORGERY = Forgery(honest, forge, step="consent", code="consent-unproven")


def test_consent_of_an_older_state_is_refused() -> None:
    FORGERY.check()
