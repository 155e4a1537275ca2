"""Another kind of file in the place of the proof."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, raw=shown.request.encode())


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_another_magic_is_refused() -> None:
    FORGERY.check()
