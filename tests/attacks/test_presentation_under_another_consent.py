"""A presentation that was signed for another consent of the same holder."""

from tests.attacks.forge import Forgery, Shown, honest, signatures_of
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return shown.presentation_with(**signatures_of(shown.present(consent_id=hash_of("another consent id"))))


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_presentation_under_another_consent_is_refused() -> None:
    FORGERY.check()
