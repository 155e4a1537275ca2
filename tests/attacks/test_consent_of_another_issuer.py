"""A consent for another issuer's documents."""

from tests.attacks.forge import Forgery, Shown, agreed_to, honest


def forge(_shown: Shown) -> Shown:
    return agreed_to(issuer="mainland-bureau")


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_consent_of_another_issuer_is_refused() -> None:
    FORGERY.check()
