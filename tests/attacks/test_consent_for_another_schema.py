"""A consent for another kind of document."""

from tests.attacks.forge import Forgery, Shown, agreed_to, honest
from tests.support.consortium import MAINLAND_REPORT, NOTICE


def forge(_shown: Shown) -> Shown:
    return agreed_to(schemas=(MAINLAND_REPORT, NOTICE))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_for_another_schema_is_refused() -> None:
    FORGERY.check()
