"""The consent key's signature over the same body for another purpose."""

from ledger.rules.operations import GRANT_TAG
from tests.attacks.forge import CONSENT_KEY, Forgery, Shown, honest, presented_body


def forge(shown: Shown) -> Shown:
    body = presented_body(shown)
    return shown.presentation_with(consent_signature=CONSENT_KEY.sign(GRANT_TAG, body))


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_signature_under_another_tag_is_refused() -> None:
    FORGERY.check()
