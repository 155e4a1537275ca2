"""Local time: what a date means to people in Hong Kong and on the mainland, and how a time is shown to them.

Rule 1: a date alone is the end of that day in Hong Kong and Beijing (UTC+8), its last millisecond.
Rule 2: a time without an offset is in UTC+8; with one it means what it says.
Rule 3: nothing else knows of local time: all other code counts milliseconds of the Unix epoch.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

DAY_MS: Final = 86_400_000

_ZONE: Final = timezone(timedelta(hours=8), "UTC+8")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*", re.ASCII)


def parse_time(text: str) -> int:
    """Return the milliseconds of a date or time. Raises ValueError, which says what was expected."""
    expected = "a date like 2026-12-31 (its end, UTC+8) or a time like 2026-12-31T18:00+08:00"
    if not (_DATE.fullmatch(text) or _TIME.fullmatch(text)):
        raise ValueError(f"expected {expected}, found {text[:60]!a}")
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=_ZONE)
        since = parsed - _EPOCH
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected {expected}, found {text[:60]!a}: {error}") from error
    milliseconds = since // timedelta(milliseconds=1)
    if _DATE.fullmatch(text):
        milliseconds += DAY_MS - 1
    if milliseconds < 0:
        raise ValueError(f"expected a time from 1970 on, found {text!a}")
    return milliseconds


def end_of_day(milliseconds: int) -> int:
    """Return the last millisecond of the day in UTC+8 that a time lies in."""
    offset_ms = 8 * 3_600_000
    return ((milliseconds + offset_ms) // DAY_MS + 1) * DAY_MS - offset_ms - 1


def show_time(milliseconds: int) -> str:
    """Return a time for people, in UTC+8."""
    try:
        moment = (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(_ZONE)
    except OverflowError:
        return f"{milliseconds} ms after 1970"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC+8")
