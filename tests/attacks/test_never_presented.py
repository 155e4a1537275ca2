"""A proof that nobody presented."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.proof_with(presentation=None)


FORGERY = Forgery(honest, forge, step="presentation", code="not-presented")


def test_never_presented_is_refused() -> None:
    FORGERY.check()
