"""A presentation whose signed body names another consent key."""

from tests.attacks.forge import OTHER_CONSENT_KEY, Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.present(consent_key=OTHER_CONSENT_KEY.public)


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_presentation_naming_another_key_is_refused() -> None:
    FORGERY.check()
