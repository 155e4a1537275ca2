"""An opening that states another size."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.opening_with(size=len(shown.document) + 1)


FORGERY = Forgery(honest, forge, step="document", code="document-altered")


def test_size_lies_is_refused() -> None:
    FORGERY.check()
