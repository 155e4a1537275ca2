"""A consent whose verifications are all used."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(used=2)))


FORGERY = Forgery(honest, forge, step="consent", code="consent-used-up")


def test_consent_used_up_is_refused() -> None:
    FORGERY.check()
