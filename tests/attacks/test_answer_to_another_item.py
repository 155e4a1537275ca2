"""A document presented for an item that asks for another kind."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show
from tests.support.asking import ITEM
from tests.support.consortium import NOTICE


def forge(_shown: Shown) -> Shown:
    other = replace(ITEM, schemas=(NOTICE,), needed=0)
    return show(make_scene(), agreed={"items": (ITEM, other)}).present(item=1)


FORGERY = Forgery(honest, forge, step="consent", code="request-mismatch")


def test_answer_to_another_item_is_refused() -> None:
    FORGERY.check()
