"""A presentation for another request, its nonce rewritten."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest, make_request


def forge(shown: Shown) -> Shown:
    asked = replace(shown, request=make_request(shown.trust, nonce=b"request nonce 02"))
    return asked.presentation_with(nonce=b"request nonce 02")


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_nonce_rewritten_is_refused() -> None:
    FORGERY.check()
