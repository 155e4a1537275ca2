"""A proof older than a day, at a bank that says nothing of age."""

from dataclasses import replace

from tests.attacks.forge import PLAIN, Forgery, Shown, honest
from tests.support.consortium import (
    DAY_MS,
)


def forge(shown: Shown) -> Shown:
    return replace(shown, at_ms=shown.chain.tips[PLAIN].header.time_ms + DAY_MS + 1)


FORGERY = Forgery(honest, forge, step="age", code="stale-proof")


def test_stale_proof_after_a_day_is_refused() -> None:
    FORGERY.check()
