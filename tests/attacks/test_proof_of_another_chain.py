"""A proof that names another chain than the bank trusts."""

from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import hash_of


def forge(shown: Shown) -> Shown:
    return shown.proof_with(chain_id=hash_of("another chain"))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_proof_of_another_chain_is_refused() -> None:
    FORGERY.check()
