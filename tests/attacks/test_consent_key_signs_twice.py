"""The consent key's signature in the place of the holder's."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    presentation = shown.proof.presentation
    assert presentation is not None
    return shown.presentation_with(holder_signature=presentation.consent_signature)


FORGERY = Forgery(honest, forge, step="presentation", code="holder-signature")


def test_consent_key_signs_twice_is_refused() -> None:
    FORGERY.check()
