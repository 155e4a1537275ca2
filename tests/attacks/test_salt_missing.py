"""No salt at all: a commitment that anyone could test guesses against."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[2][3] = b""

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_salt_missing_is_refused() -> None:
    FORGERY.check()
