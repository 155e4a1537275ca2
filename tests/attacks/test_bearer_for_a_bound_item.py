"""A document that names nobody, where the request asks for one that names its holder."""

from tests.attacks.forge import Forgery, Shown, honest_bearer, make_scene, show
from tests.support.consortium import NOTICE


def forge(_shown: Shown) -> Shown:
    scene = make_scene(
        anchor={"schema": NOTICE, "bearer": 1}, metadata={"schema": NOTICE, "holder_key": None}
    )
    return show(scene, agreed={"bound": 1})


FORGERY = Forgery(honest_bearer, forge, step="consent", code="request-mismatch")


def test_bearer_for_a_bound_item_is_refused() -> None:
    FORGERY.check()
