"""Another leaf count, for which the same path leads to the same root."""

from dataclasses import replace

from ledger.trees.merkle import (
    path_siblings_count,
)
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    assert path_siblings_count(0, 7) == path_siblings_count(0, 8)
    return shown.proof_with(batch=replace(shown.proof.batch, leaf_count=8))


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_leaf_count_lies_is_refused() -> None:
    FORGERY.check()
