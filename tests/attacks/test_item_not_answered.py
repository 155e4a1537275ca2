"""A request for two kinds, of which one was presented."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show
from tests.support.asking import ITEM
from tests.support.consortium import NOTICE


def forge(_shown: Shown) -> Shown:
    return show(make_scene(), agreed={"items": (ITEM, replace(ITEM, schemas=(NOTICE,)))})


FORGERY = Forgery(honest, forge, step="presentation", code="item-missing")


def test_item_not_answered_is_refused() -> None:
    FORGERY.check()
