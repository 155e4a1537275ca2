"""A consent that begins one millisecond after the time asked about."""

from tests.attacks.forge import NOW_MS, Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(from_ms=NOW_MS + 1)))


FORGERY = Forgery(honest, forge, step="consent", code="consent-period")


def test_consent_not_begun_is_refused() -> None:
    FORGERY.check()
