"""A consent for another issuer's documents."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(issuer="mainland-bureau")))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_of_another_issuer_is_refused() -> None:
    FORGERY.check()
