"""An index that the batch does not have."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    path = shown.proof.batch.path
    return shown.proof_with(batch=replace(shown.proof.batch, path=replace(path, index=7)))


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_index_outside_the_batch_is_refused() -> None:
    FORGERY.check()
