"""A request for two documents of a kind, of which one was presented."""

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show


def forge(_shown: Shown) -> Shown:
    return show(make_scene(), agreed={"count": 2})


FORGERY = Forgery(honest, forge, step="presentation", code="item-missing")


def test_item_answered_too_seldom_is_refused() -> None:
    FORGERY.check()
