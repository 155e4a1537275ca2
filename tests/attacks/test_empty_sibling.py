"""A sibling that is the hash of nothing, so that a leaf stands deeper than it does."""

from typing import Any

from ledger.trees.statetree import EMPTY
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        inclusion = proof[5][4][1]
        inclusion[3][0] = EMPTY

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_empty_sibling_is_refused() -> None:
    FORGERY.check()
