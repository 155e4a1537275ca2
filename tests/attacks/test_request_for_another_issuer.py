"""A request for another issuer's documents."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest, make_request


def forge(shown: Shown) -> Shown:
    return replace(shown, request=make_request(shown.trust, issuer="mainland-bureau"))


FORGERY = Forgery(honest, forge, step="consent", code="request-mismatch")


def test_request_for_another_issuer_is_refused() -> None:
    FORGERY.check()
