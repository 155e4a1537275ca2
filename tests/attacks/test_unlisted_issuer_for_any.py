"""A document of an issuer that no schema listed, where the request asks for any that the schema lists."""

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show


def forge(_shown: Shown) -> Shown:
    return show(make_scene(anchor={"listed": 0}), agreed={"issuers": ()})


FORGERY = Forgery(honest, forge, step="consent", code="request-mismatch")


def test_unlisted_issuer_for_any_is_refused() -> None:
    FORGERY.check()
