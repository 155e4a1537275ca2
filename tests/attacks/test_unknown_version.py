"""A version of the proof file that does not exist."""

from dataclasses import replace

from ledger.proofs import PROOF_MAGIC
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, raw=PROOF_MAGIC[:-1] + b"\x03" + shown.proof_bytes[len(PROOF_MAGIC) :])


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_unknown_version_is_refused() -> None:
    FORGERY.check()
