"""Another consent of the same key, proven, in the place of the one presented."""

from tests.attacks.forge import PLAIN, Forgery, Shown, honest, make_consent, make_scene, show
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    other = make_consent(consent_id=hash_of("another consent id"), uses=9)
    both = show(make_scene(others=(other,)))
    return both.consent_with(consent=both.chain.prove(PLAIN, other.state_key()))


FORGERY = Forgery(honest, forge, step="consent", code="consent-unproven")


def test_consent_of_another_id_is_refused() -> None:
    FORGERY.check()
