"""Arrays within arrays, to exhaust the stack."""

from dataclasses import replace

from ledger.proofs import PROOF_MAGIC
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, raw=PROOF_MAGIC + b"\x91" * 4_000 + b"\xc0")


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_depth_bomb_is_refused() -> None:
    FORGERY.check()
