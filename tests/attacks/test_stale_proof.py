"""A proof one millisecond older than the bank accepts."""

from dataclasses import replace

from tests.attacks.forge import NOW_MS, PLAIN, Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    header = shown.chain.tips[PLAIN].header
    return replace(shown, max_age_ms=NOW_MS - header.time_ms - 1)


FORGERY = Forgery(honest, forge, step="age", code="stale-proof")


def test_stale_proof_is_refused() -> None:
    FORGERY.check()
