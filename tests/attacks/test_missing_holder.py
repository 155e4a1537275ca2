"""A document that names no holder, of a kind that must."""

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(metadata={"holder_key": None}))


FORGERY = Forgery(honest, forge, step="anchor", code="no-holder")


def test_missing_holder_is_refused() -> None:
    FORGERY.check()
