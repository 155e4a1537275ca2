"""A consent to another version of the notice than the bank showed."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(notice_version=hash_of("another notice"))))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_to_another_notice_is_refused() -> None:
    FORGERY.check()
