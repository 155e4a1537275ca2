"""Arrays within arrays that each claim as many items as an array may have."""

from dataclasses import replace

from ledger.proofs import PROOF_MAGIC
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, raw=PROOF_MAGIC + b"\xdc\x40\x00" * 1_000)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_nested_size_bomb_is_refused() -> None:
    FORGERY.check()
