"""The two signatures in each other's place."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    presentation = shown.proof.presentation
    assert presentation is not None and presentation.holder_signature is not None
    return shown.presentation_with(
        holder_signature=presentation.consent_signature, consent_signature=presentation.holder_signature
    )


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_signatures_exchanged_is_refused() -> None:
    FORGERY.check()
