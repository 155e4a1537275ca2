"""A handover to a set whose validators stand in another order, so that indices name others."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest_after_handovers


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[5][3][1][0][1][0].reverse()

    return shown.value_with(edit)


FORGERY = Forgery(honest_after_handovers, forge, step="files", code="proof-malformed")


def test_unordered_validator_set_is_refused() -> None:
    FORGERY.check()
