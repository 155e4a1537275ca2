"""A presentation for another request of the same bank, shown again."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest, make_request


def forge(shown: Shown) -> Shown:
    return replace(shown, request=make_request(shown.trust, nonce=b"request nonce 02"))


FORGERY = Forgery(honest, forge, step="presentation", code="wrong-nonce")


def test_presented_for_another_nonce_is_refused() -> None:
    FORGERY.check()
