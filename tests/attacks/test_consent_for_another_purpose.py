"""A consent for another purpose."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(purpose="corporate.account")))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-purpose")


def test_consent_for_another_purpose_is_refused() -> None:
    FORGERY.check()
