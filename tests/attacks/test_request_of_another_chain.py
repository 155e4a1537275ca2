"""A request made on another chain."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest, make_request
from tests.support.consortium import (
    hash_of,
)


def forge(shown: Shown) -> Shown:
    return replace(shown, request=make_request(shown.trust, chain_id=hash_of("another chain")))


FORGERY = Forgery(honest, forge, step="consent", code="request-mismatch")


def test_request_of_another_chain_is_refused() -> None:
    FORGERY.check()
