"""A boolean where an index is meant: equal in Python, another encoding."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        assert proof[3][1][0] == 0
        proof[3][1][0] = False

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_truth_value_for_an_integer_is_refused() -> None:
    FORGERY.check()
