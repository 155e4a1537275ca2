"""Bytes that claim to be four gigabytes long."""

from dataclasses import replace

from ledger.proofs import PROOF_MAGIC
from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, raw=PROOF_MAGIC + b"\xc6\xff\xff\xff\xff" + shown.proof_bytes)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_bytes_size_bomb_is_refused() -> None:
    FORGERY.check()
