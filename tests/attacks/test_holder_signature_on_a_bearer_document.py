"""A bearer document with a holder's signature that nothing can check."""

from tests.attacks.forge import HOLDER, Forgery, Shown, honest_bearer
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return shown.present(holder=HOLDER, consent_id=hash_of("consent id"))


FORGERY = Forgery(honest_bearer, forge, step="presentation", code="holder-signature")


def test_holder_signature_on_a_bearer_document_is_refused() -> None:
    FORGERY.check()
