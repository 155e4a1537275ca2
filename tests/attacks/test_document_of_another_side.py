"""A document from a side that the request does not name."""

from tests.attacks.forge import Forgery, Shown, honest, make_consent, make_scene, show


def forge(_shown: Shown) -> Shown:
    return show(make_scene(consent=make_consent(sources=("CN",))), agreed={"sources": ("CN",)})


FORGERY = Forgery(honest, forge, step="consent", code="request-mismatch")


def test_document_of_another_side_is_refused() -> None:
    FORGERY.check()
