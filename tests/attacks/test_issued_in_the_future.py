"""A document issued one millisecond after the time asked about."""

from tests.attacks.forge import NOW_MS, Forgery, Shown, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    return show(make_scene(metadata={"issued_ms": NOW_MS + 1}))


FORGERY = Forgery(honest, forge, step="status", code="not-yet-anchored")


def test_issued_in_the_future_is_refused() -> None:
    FORGERY.check()
