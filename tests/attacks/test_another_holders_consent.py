"""A true consent of somebody else to the same, and its salt, presented without that key."""

from tests.attacks.forge import (
    OTHER_CONSENT_KEY,
    PLAIN,
    Forgery,
    Shown,
    bound_to,
    honest,
    make_consent,
    make_scene,
    show,
)
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    other = make_consent(key=OTHER_CONSENT_KEY, consent_id=hash_of("another consent id"))
    other = bound_to(other, shown.request)
    both = show(make_scene(others=(other,)))
    forged = both.consent_with(consent=both.chain.prove(PLAIN, other.state_key()))
    return forged.presentation_with(
        consent_key=OTHER_CONSENT_KEY.public, consent_id=hash_of("another consent id")
    )


FORGERY = Forgery(honest, forge, step="presentation", code="consent-signature")


def test_another_holders_consent_is_refused() -> None:
    FORGERY.check()
