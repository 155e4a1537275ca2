"""A consent for another bank."""

from tests.attacks.forge import OTHER_BANK, Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(recipient=OTHER_BANK)))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-recipient")


def test_consent_for_another_bank_is_refused() -> None:
    FORGERY.check()
