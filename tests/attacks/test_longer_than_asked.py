"""A consent that the ledger shows as longer than the bank asked."""

from tests.attacks.forge import NOW_MS, Forgery, Shown, honest, make_consent, make_scene, show
from tests.support.consortium import DAY_MS


def forge(_shown: Shown) -> Shown:
    until_ms = NOW_MS + 90 * DAY_MS
    return show(make_scene(consent=make_consent(until_ms=until_ms)), agreed={"until_ms": until_ms - DAY_MS})


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_longer_than_asked_is_refused() -> None:
    FORGERY.check()
