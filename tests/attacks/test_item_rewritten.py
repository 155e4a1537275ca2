"""An item number changed after the list was signed."""

from dataclasses import replace

from ledger.requests import Days
from tests.attacks.forge import Forgery, Shown, make_scene, show
from tests.support.asking import ITEM
from tests.support.consortium import DAY_MS, START_MS


def two_items() -> Shown:
    """Return a proof presented for the first of two items that ask for one kind, in two years."""
    first, second = (
        replace(ITEM, needed=0, covers=Days(year, year + 364))
        for year in (START_MS // DAY_MS, START_MS // DAY_MS + 400)
    )
    return show(make_scene(), agreed={"items": (first, second)})


def forge(shown: Shown) -> Shown:
    return shown.presentation_with(item=1)


FORGERY = Forgery(two_items, forge, step="presentation", code="consent-signature")


def test_item_rewritten_is_refused() -> None:
    FORGERY.check()
