"""A consent that rests on another legal basis for the transfer."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(transfer_basis="certification")))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_on_another_basis_is_refused() -> None:
    FORGERY.check()
