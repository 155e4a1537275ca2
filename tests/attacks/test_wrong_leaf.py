"""Another document of the batch, honestly opened, under this one's path."""

from dataclasses import replace

from tests.attacks.forge import BATCH, Forgery, Shown, honest, make_opening


def forge(shown: Shown) -> Shown:
    return replace(shown.proof_with(opening=make_opening(BATCH[1])), document=BATCH[1]).present()


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_wrong_leaf_is_refused() -> None:
    FORGERY.check()
