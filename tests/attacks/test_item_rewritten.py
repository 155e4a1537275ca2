"""An item number changed after the list was signed, to one that asks for another issuer."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, make_scene, show
from tests.support.asking import ITEM


def two_items() -> Shown:
    """Return a proof presented for the first of two items that ask for one kind, by two issuers."""
    other = replace(ITEM, issuers=("mainland-bureau",), needed=0)
    return show(make_scene(), agreed={"items": (ITEM, other)})


def forge(shown: Shown) -> Shown:
    return shown.presentation_with(item=1)


FORGERY = Forgery(two_items, forge, step="consent", code="request-mismatch")


def test_item_rewritten_is_refused() -> None:
    FORGERY.check()
