"""A consent that ended one millisecond before the time asked about."""

from tests.attacks.forge import NOW_MS, Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(until_ms=NOW_MS - 1)))


FORGERY = Forgery(honest, forge, step="consent", code="consent-period")


def test_consent_over_is_refused() -> None:
    FORGERY.check()
