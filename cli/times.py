"""Dates, times and durations as users write them.

Rule 1: a date alone is the end of that day in Hong Kong and Beijing (UTC+8), its last millisecond.
Rule 2: a time without an offset is in UTC+8; with one it means what it says.
Rule 3: inside the program every time is in milliseconds of the Unix epoch.
"""

import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import click

LOCAL_ZONE: Final = timezone(timedelta(hours=8), "UTC+8")
DAY_MS: Final = 86_400_000
DURATION_MAX_MS: Final = 3_660 * DAY_MS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*", re.ASCII)
_DURATION: Final = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])", re.ASCII)
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


def parse_time(text: str) -> int:
    """Return the milliseconds of a date or time. Raises ValueError, which says what was expected."""
    expected = "a date like 2026-12-31 (its end, UTC+8) or a time like 2026-12-31T18:00+08:00"
    if not (_DATE.fullmatch(text) or _TIME.fullmatch(text)):
        raise ValueError(f"expected {expected}, found {text[:60]!a}")
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=LOCAL_ZONE)
        since = parsed - _EPOCH
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected {expected}, found {text[:60]!a}: {error}") from error
    milliseconds = since // timedelta(milliseconds=1)
    if _DATE.fullmatch(text):
        milliseconds += DAY_MS - 1
    if milliseconds < 0:
        raise ValueError(f"expected a time from 1970 on, found {text!a}")
    return milliseconds


def parse_duration(text: str) -> int:
    """Return the milliseconds of a duration. Raises ValueError, which says what was expected."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"expected a duration like 45s, 30m, 24h or 7d (one number, one unit), found {text[:60]!a}"
        )
    milliseconds = int(match["count"]) * _UNITS_MS[match["unit"]]
    if milliseconds > DURATION_MAX_MS:
        raise ValueError(f"expected at most {DURATION_MAX_MS // DAY_MS}d, found {text}")
    return milliseconds


def end_of_day(milliseconds: int) -> int:
    """Return the last millisecond of the day in UTC+8 that a time lies in."""
    offset_ms = 8 * 3_600_000
    return ((milliseconds + offset_ms) // DAY_MS + 1) * DAY_MS - offset_ms - 1


def show_time(milliseconds: int) -> str:
    """Return a time for people, in UTC+8."""
    try:
        moment = (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(LOCAL_ZONE)
    except OverflowError:
        return f"{milliseconds} ms after 1970"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC+8")


def show_duration(milliseconds: int) -> str:
    """Return a duration for people, in the largest unit that keeps it readable."""
    for unit, size in (("d", DAY_MS), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds >= 2 * size:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds} ms"


def now_ms() -> int:
    """Return the present, from the computer's clock."""
    return time.time_ns() // 1_000_000


def to_moment(value: str | int) -> int:
    """Convert an option's value: a time, or the milliseconds of a default."""
    try:
        return value if isinstance(value, int) else parse_time(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def to_duration(value: str | int) -> int:
    """Convert an option's value: a duration, or the milliseconds of a default."""
    try:
        return value if isinstance(value, int) else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
