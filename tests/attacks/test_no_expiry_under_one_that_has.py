"""A document without an expiry in an anchor that states the latest."""

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(metadata={"expires_ms": None}))


FORGERY = Forgery(honest, forge, step="anchor", code="metadata-mismatch")


def test_no_expiry_under_one_that_has_is_refused() -> None:
    FORGERY.check()
