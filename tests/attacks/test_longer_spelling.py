"""The same values in a longer spelling: two files for one proof."""

from dataclasses import replace

from ledger.proofs import PROOF_MAGIC
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    encoded = shown.proof_bytes[len(PROOF_MAGIC) :]
    assert encoded[0] == 0x97, "an array of seven"
    return replace(shown, raw=PROOF_MAGIC + b"\xdc\x00\x07" + encoded[1:])


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_longer_spelling_is_refused() -> None:
    FORGERY.check()
