"""A state proof with one level more, without a sibling there."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        inclusion = proof[5][4][1]
        bits = int.from_bytes(inclusion[2], "big") >> (-inclusion[1] % 8)
        inclusion[1] += 1
        inclusion[2] = (bits << 1 << (-inclusion[1] % 8)).to_bytes((inclusion[1] + 7) // 8, "big")

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_missing_lowest_sibling_is_refused() -> None:
    FORGERY.check()
