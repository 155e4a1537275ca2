"""A path with a sibling more than its tree has levels."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    path = shown.proof.batch.path
    return shown.proof_with(
        batch=replace(shown.proof.batch, path=replace(path, siblings=(*path.siblings, bytes(32))))
    )


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_sibling_extra_is_refused() -> None:
    FORGERY.check()
