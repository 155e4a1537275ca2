"""A request for certain days, answered by a document that names none."""

from ledger.requests import Days
from tests.attacks.forge import Forgery, Shown, honest, make_scene, show


def forge(_shown: Shown) -> Shown:
    return show(make_scene(), agreed={"covers": Days(20_000, 20_364)})


FORGERY = Forgery(honest, forge, step="consent", code="request-mismatch")


def test_days_that_nothing_shows_is_refused() -> None:
    FORGERY.check()
