"""A consent used up as of the header, at the header's own time."""

from dataclasses import replace

from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_consent, make_scene, show


def forge(shown: Shown) -> Shown:
    used_up = show(make_scene(consent=make_consent(used=2)))
    return replace(used_up, at_ms=shown.chain.tips[PLAIN].header.time_ms)


FORGERY = Forgery(honest, forge, step="consent", code="consent-used-up")


def test_consent_used_up_as_of_the_time_asked_about_is_refused() -> None:
    FORGERY.check()
