"""A salt of 31 bytes, which an HMAC would pad with zeros."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[2][3] = proof[2][3][:31]

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_salt_too_short_is_refused() -> None:
    FORGERY.check()
