"""The holder's signature with the group order added to its scalar: equal to a verifier that does not look."""

from tests.attacks.forge import GROUP_ORDER, Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    presentation = shown.proof.presentation
    assert presentation is not None and presentation.holder_signature is not None
    genuine = presentation.holder_signature
    scalar = int.from_bytes(genuine[32:], "little") + GROUP_ORDER
    return shown.presentation_with(holder_signature=genuine[:32] + scalar.to_bytes(32, "little"))


FORGERY = Forgery(honest, forge, step="presentation", code="holder-signature")


def test_signature_made_malleable_is_refused() -> None:
    FORGERY.check()
