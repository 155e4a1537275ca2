"""An inner node of the batch passed as a leaf of a smaller tree."""

from dataclasses import replace

from ledger.proofs import BatchPath
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    path = shown.proof.batch.path
    upper = replace(path, siblings=path.siblings[1:])
    return shown.proof_with(batch=BatchPath(4, upper))


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_second_preimage_is_refused() -> None:
    FORGERY.check()
