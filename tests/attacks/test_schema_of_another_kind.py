"""An issuer that anchored one kind of document and calls it another."""

from tests.attacks.forge import Forgery, Shown, honest, make_scene, show
from tests.support.consortium import MAINLAND_REPORT


def forge(shown: Shown) -> Shown:
    return show(make_scene(metadata={"schema": MAINLAND_REPORT}))


FORGERY = Forgery(honest, forge, step="anchor", code="metadata-mismatch")


def test_schema_of_another_kind_is_refused() -> None:
    FORGERY.check()
