"""Questions about the present: where the bank's clock and the proof's headers differ, and what must be answered.

The other forgeries ask about a past time. What makes these is the clock, so each says where it stands.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ledger.rules.state import Ended, Granted, Revoked, Suspension
from tests.attacks.forge import (
    FIRST_SEAL,
    NOW_MS,
    PLAIN,
    RECORDED,
    TIP,
    Shown,
    honest,
    honest_after_handovers,
    honest_bearer,
    honest_from_checkpoint,
    honest_under_history,
    make_consent,
    make_scene,
    show,
)
from tests.support.consortium import DAY_MS, MINUTE_MS, START_MS, make_terms

HEADER_MS = START_MS + PLAIN * MINUTE_MS
TIP_MS = START_MS + TIP * MINUTE_MS
HALF_MS = MINUTE_MS // 2


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about the present, and the step and code that refuse it, or None where it verifies."""

    name: str
    make: Callable[[], Shown]
    refused: tuple[str, str] | None = None
    is_anchor_only: bool = False


def now(make: Callable[[], Shown], now_ms: int, **changes: object) -> Callable[[], Shown]:
    """Return what is asked when the bank's clock says so."""
    return lambda: replace(make(), at_ms=now_ms, is_present=True, **changes)  # type: ignore[arg-type]


def of(height: int = PLAIN, **scene: object) -> Callable[[], Shown]:
    """Return the honest proof of a scene as of a height."""
    return lambda: show(make_scene(**scene), height)


def ended(at_ms: int, height: int) -> object:
    """Return a consent that its holder withdrew."""
    return make_consent(ended=Ended("holder", height, at_ms))


def altered() -> Shown:
    """A document of one byte more."""
    return replace(honest(), document=honest().document + b"!")


def granted_with_the_header() -> Shown:
    """A consent recorded in the header's own block."""
    late = replace(make_consent(), granted=Granted(make_terms(), PLAIN, HEADER_MS))
    return show(make_scene(consent=late))


CLOCK = ("status", "clock-behind")
ENDED = ("consent", "consent-ended")

PRESENT = (
    Asked("now", now(honest, NOW_MS)),
    Asked("now_after_handovers", now(honest_after_handovers, NOW_MS)),
    Asked("now_from_a_checkpoint", now(honest_from_checkpoint, NOW_MS)),
    Asked("now_under_history", now(honest_under_history, NOW_MS)),
    Asked("now_a_bearer_document", now(honest_bearer, NOW_MS)),
    Asked("now_the_anchor_alone", now(honest, NOW_MS), is_anchor_only=True),
    # The clock beside the header.
    Asked("clock_at_the_header", now(honest, HEADER_MS, max_age_ms=0)),
    Asked("clock_a_minute_behind", now(honest, HEADER_MS - MINUTE_MS, max_age_ms=0)),
    Asked("clock_a_minute_behind_anchor_alone", now(honest, HEADER_MS - MINUTE_MS), is_anchor_only=True),
    Asked("clock_more_than_a_minute_behind", now(honest, HEADER_MS - MINUTE_MS - 1), CLOCK),
    Asked("clock_before_the_chain", now(honest, START_MS - DAY_MS), CLOCK),
    Asked("clock_of_1970", now(honest, 0), CLOCK),
    Asked("clock_behind_the_tip", now(honest_after_handovers, TIP_MS - MINUTE_MS - 1), CLOCK),
    # A header under the history of a newer one: the newer one tells the time.
    Asked("clock_a_minute_behind_the_newer_header", now(honest_under_history, TIP_MS - MINUTE_MS)),
    Asked("clock_behind_the_newer_header", now(honest_under_history, TIP_MS - MINUTE_MS - 1), CLOCK),
    Asked(
        "age_by_the_newer_header",
        now(honest_under_history, TIP_MS - MINUTE_MS, max_age_ms=TIP_MS - HEADER_MS),
    ),
    Asked(
        "too_old_by_the_newer_header",
        now(honest_under_history, TIP_MS - MINUTE_MS, max_age_ms=TIP_MS - HEADER_MS - 1),
        ("age", "stale-proof"),
    ),
    # What the header shows counts, whatever the clock says.
    Asked("withdrawn_by_a_slow_clock", now(of(consent=ended(HEADER_MS, PLAIN)), HEADER_MS - 1), ENDED),
    Asked(
        "withdrawn_by_a_clock_a_minute_slow",
        now(of(consent=ended(HEADER_MS, PLAIN)), HEADER_MS - MINUTE_MS),
        ENDED,
    ),
    Asked(
        "withdrawn_by_a_clock_three_minutes_slow",
        now(of(TIP, consent=ended(TIP_MS, TIP)), TIP_MS - 3 * MINUTE_MS),
        CLOCK,
    ),
    Asked(
        "used_up_by_a_slow_clock",
        now(of(consent=make_consent(used=2)), HEADER_MS - HALF_MS),
        ("consent", "consent-used-up"),
    ),
    Asked(
        "over_by_a_slow_clock",
        now(of(consent=make_consent(until_ms=HEADER_MS - 1)), HEADER_MS - HALF_MS),
        ("consent", "consent-period"),
    ),
    Asked("not_over_by_a_slow_clock", now(of(consent=make_consent(until_ms=HEADER_MS)), HEADER_MS - HALF_MS)),
    Asked(
        "expired_by_a_slow_clock",
        now(of(metadata={"expires_ms": HEADER_MS - 1}), HEADER_MS - HALF_MS),
        ("status", "document-expired"),
    ),
    Asked("not_expired_by_a_slow_clock", now(of(metadata={"expires_ms": HEADER_MS}), HEADER_MS - HALF_MS)),
    Asked("anchored_after_the_clock", now(of(RECORDED), START_MS + HALF_MS)),
    Asked("granted_after_the_clock", now(granted_with_the_header, HEADER_MS - HALF_MS)),
    # Of two reasons the one that less can mend.
    Asked("altered_and_a_slow_clock", now(altered, HEADER_MS - DAY_MS), ("document", "document-altered")),
    Asked(
        "suspended_and_a_slow_clock",
        now(of(suspensions=(Suspension(PLAIN, PLAIN, None),)), 0),
        ("issuer", "issuer-suspended"),
    ),
    Asked(
        "revoked_and_a_slow_clock",
        now(of(anchor={"revoked": Revoked("fraud", PLAIN, HEADER_MS)}), 0),
        ("status", "revoked"),
    ),
    Asked("not_yet_issued_and_a_slow_clock", now(of(metadata={"issued_ms": NOW_MS}), 0), CLOCK),
    # The clock and the window of a pin.
    Asked(
        "before_the_window_of_the_pin",
        now(honest_from_checkpoint, START_MS - 1),
        ("trust", "untrusted-header"),
    ),
    # Old, by a clock that is right.
    Asked("a_day_old_now", now(honest, HEADER_MS + DAY_MS)),
    Asked("more_than_a_day_old_now", now(honest, HEADER_MS + DAY_MS + 1), ("age", "stale-proof")),
    Asked("as_of_a_seal_now", now(of(FIRST_SEAL), START_MS + FIRST_SEAL * MINUTE_MS)),
)
