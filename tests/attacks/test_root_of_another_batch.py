"""A root that is anchored, of a batch without this document."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return shown.proof_with(anchor_root=hash_of("another batch"))


FORGERY = Forgery(honest, forge, step="anchor", code="not-in-anchor")


def test_root_of_another_batch_is_refused() -> None:
    FORGERY.check()
