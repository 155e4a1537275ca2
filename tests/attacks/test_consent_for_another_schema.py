"""A consent for another kind of document."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show
from tests.support.consortium import MAINLAND_REPORT, NOTICE


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(schemas=(MAINLAND_REPORT, NOTICE))))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_for_another_schema_is_refused() -> None:
    FORGERY.check()
