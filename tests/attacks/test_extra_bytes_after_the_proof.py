"""Bytes after the proof: what no part of it hashes."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, raw=shown.proof_bytes + b"\xc0")


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_extra_bytes_after_the_proof_is_refused() -> None:
    FORGERY.check()
