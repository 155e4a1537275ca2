"""A recipient whose role was taken from it, as of the header, after the consent was granted."""

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(recipient_roles=("auditor", "issuer")))


FORGERY = Forgery(honest, forge, step="consent", code="not-a-recipient")


def test_recipient_without_its_role_is_refused() -> None:
    FORGERY.check()
