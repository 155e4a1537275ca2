"""A floating-point size, equal to the integer."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[2][1] = float(proof[2][1])

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_fraction_for_an_integer_is_refused() -> None:
    FORGERY.check()
