"""Two siblings of the path in each other's place."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    path = shown.proof.batch.path
    first, second, *others = path.siblings
    swapped = replace(path, siblings=(second, first, *others))
    return shown.proof_with(batch=replace(shown.proof.batch, path=swapped))


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_swapped_siblings_is_refused() -> None:
    FORGERY.check()
