"""A genuine proof, at a bank that trusts another network."""

from dataclasses import replace

from ledger.trust import TrustedRoot
from tests.attacks.forge import Forgery, Shown, honest
from tests.support.consortium import (
    make_genesis,
)


def forge(shown: Shown) -> Shown:
    content = replace(shown.chain.genesis.content, network="another-network")
    return replace(shown, trust=TrustedRoot(1, make_genesis(content), ()))


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_another_trusted_root_is_refused() -> None:
    FORGERY.check()
