"""A state proof deeper than keys have bits."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        inclusion = proof[5][4][1]
        inclusion[1], inclusion[2], inclusion[3] = 257, b"\xff" * 32 + b"\x80", [bytes([7]) * 32] * 257

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_state_proof_too_deep_is_refused() -> None:
    FORGERY.check()
