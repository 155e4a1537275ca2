"""Text where bytes are meant."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[6][6] = "n" * 16

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_text_for_bytes_is_refused() -> None:
    FORGERY.check()
