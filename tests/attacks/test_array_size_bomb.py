"""An array that claims four thousand million items."""

from dataclasses import replace

from ledger.proofs import PROOF_MAGIC
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, raw=PROOF_MAGIC + b"\xdd\xff\xff\xff\xff")


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_array_size_bomb_is_refused() -> None:
    FORGERY.check()
