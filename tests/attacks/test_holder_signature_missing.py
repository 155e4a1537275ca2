"""A document that names a holder, presented without the holder's signature."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.presentation_with(holder_signature=None)


FORGERY = Forgery(honest, forge, step="presentation", code="holder-signature")


def test_holder_signature_missing_is_refused() -> None:
    FORGERY.check()
