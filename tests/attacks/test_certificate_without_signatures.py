"""A quorum certificate that nobody signed."""

from typing import Any

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[5][2][1] = []

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_certificate_without_signatures_is_refused() -> None:
    FORGERY.check()
