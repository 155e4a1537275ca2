"""The proof that a key is present, in the place where its absence is to be shown."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[5][6] = proof[5][4][1]

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_presence_passed_as_absence_is_refused() -> None:
    FORGERY.check()
