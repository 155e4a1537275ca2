"""A true consent of somebody else, presented with its key and without the salt that opens its terms."""

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


def forge(_shown: Shown) -> Shown:
    other = make_consent(key=OTHER_CONSENT_KEY, consent_id=hash_of("another consent id"))
    both = show(make_scene(others=(other,)))
    forged = both.consent_with(consent=both.chain.prove(PLAIN, other.state_key()))
    return forged.present(consent=OTHER_CONSENT_KEY, consent_id=hash_of("another consent id"))


FORGERY = Forgery(honest, forge, step="consent", code="wrong-terms")


def test_another_holders_terms_are_refused() -> None:
    FORGERY.check()
