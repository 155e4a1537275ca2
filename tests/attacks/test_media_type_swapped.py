"""The document under another media type: a program would read it as something else."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.opening_with(media_type="text/html").present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_media_type_swapped_is_refused() -> None:
    FORGERY.check()
