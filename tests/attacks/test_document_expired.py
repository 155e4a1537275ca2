"""A document past its expiry, by one millisecond."""

from tests.attacks.forge import NOW_MS, Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    scene = make_scene(metadata={"expires_ms": NOW_MS - 1})
    return show(scene)


FORGERY = Forgery(honest, forge, step="status", code="document-expired")


def test_document_expired_is_refused() -> None:
    FORGERY.check()
