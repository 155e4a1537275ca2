"""A consent key of an algorithm that this suite does not have."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[6][4][0] = 2

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_unknown_key_algorithm_is_refused() -> None:
    FORGERY.check()
