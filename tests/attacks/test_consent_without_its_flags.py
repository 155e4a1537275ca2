"""A consent that is not the separate, cross-border one that the bank asked for."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(flags=0)))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_without_its_flags_is_refused() -> None:
    FORGERY.check()
