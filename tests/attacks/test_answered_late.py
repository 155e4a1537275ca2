"""A request that is answered one millisecond after its time."""

from tests.attacks.forge import NOW_MS, Forgery, Shown, honest, make_scene, show


def forge(_shown: Shown) -> Shown:
    return show(make_scene(), agreed={"answer_by_ms": NOW_MS - 1})


FORGERY = Forgery(honest, forge, step="consent", code="answer-late")


def test_answered_late_is_refused() -> None:
    FORGERY.check()
