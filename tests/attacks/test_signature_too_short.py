"""A presentation whose signature is cut."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[6][10] = proof[6][10][:63]

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_signature_too_short_is_refused() -> None:
    FORGERY.check()
