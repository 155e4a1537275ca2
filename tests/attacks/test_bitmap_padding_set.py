"""A bit set in the padding of a bitmap."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        inclusion = proof[5][4][1]
        assert inclusion[1] % 8, "there is padding"
        inclusion[2] = inclusion[2][:-1] + bytes([inclusion[2][-1] | 1])

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_bitmap_padding_set_is_refused() -> None:
    FORGERY.check()
