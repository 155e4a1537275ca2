"""A consent for the other direction across the border."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(sources=("CN",))))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_in_another_direction_is_refused() -> None:
    FORGERY.check()
