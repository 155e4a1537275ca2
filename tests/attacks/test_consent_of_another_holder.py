"""Another holder's consent, proven, under a presentation by this one."""

from tests.attacks.forge import (
    OTHER_CONSENT_KEY,
    PLAIN,
    Forgery,
    Shown,
    honest,
    make_consent,
    make_scene,
    show,
)
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    other = make_consent(key=OTHER_CONSENT_KEY, consent_id=hash_of("another consent id"))
    both = show(make_scene(others=(other,)))
    return both.consent_with(consent=both.chain.prove(PLAIN, other.state_key()))


FORGERY = Forgery(honest, forge, step="consent", code="consent-unproven")


def test_consent_of_another_holder_is_refused() -> None:
    FORGERY.check()
