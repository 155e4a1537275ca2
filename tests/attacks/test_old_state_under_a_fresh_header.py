"""An old state under a fresh header: age counts from the header whose state is shown."""

from dataclasses import replace

from tests.attacks.forge import NOW_MS, TIP, Forgery, Shown, honest_under_history


def forge(shown: Shown) -> Shown:
    fresh = shown.chain.tips[TIP].header.time_ms
    return replace(shown, max_age_ms=NOW_MS - fresh)


FORGERY = Forgery(honest_under_history, forge, step="age", code="stale-proof")


def test_old_state_under_a_fresh_header_is_refused() -> None:
    FORGERY.check()
