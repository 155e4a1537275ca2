"""A revoked document: its place said to be empty."""

from tests.attacks.forge import Forgery, Shown, honest, revoked_with


def forge(shown: Shown) -> Shown:
    return revoked_with(shown, lambda key, proven: None)


FORGERY = Forgery(honest, forge, step="status", code="revocation-unproven")


def test_absence_in_an_empty_place_is_refused() -> None:
    FORGERY.check()
