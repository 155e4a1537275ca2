"""Another salt, which would lead to another commitment."""

from tests.attacks.forge import Forgery, Shown, flipped, honest


def forge(shown: Shown) -> Shown:
    return shown.opening_with(salt=flipped(shown.proof.opening.salt)).present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_salt_altered_is_refused() -> None:
    FORGERY.check()
