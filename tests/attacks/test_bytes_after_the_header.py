"""Bytes after the header."""

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return shown.evidence_with(header=shown.proof.evidence.header + b"\xc0")


FORGERY = Forgery(honest, forge, step="trust", code="untrusted-header")


def test_bytes_after_the_header_is_refused() -> None:
    FORGERY.check()
