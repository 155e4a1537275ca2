"""A path whose index puts the leaf on the other side."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    path = shown.proof.batch.path
    return shown.proof_with(batch=replace(shown.proof.batch, path=replace(path, index=path.index ^ 1)))


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_wrong_side_is_refused() -> None:
    FORGERY.check()
