"""A proof file above the limit."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    return replace(shown, raw=shown.proof_bytes + bytes(1024 * 1024))


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_oversized_proof_is_refused() -> None:
    FORGERY.check()
