"""A consent that rests on another legal basis for the transfer."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, agreed_to, honest
from tests.support.asking import BASIS


def forge(_shown: Shown) -> Shown:
    return agreed_to(basis=replace(BASIS, code="certification"))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_on_another_basis_is_refused() -> None:
    FORGERY.check()
