"""Local time: what a date means to people in Hong Kong and on the mainland, and how a time is shown to them.

Rule 1: a date alone is the end of that day in Hong Kong and Beijing (UTC+8), its last millisecond.
Rule 2: a time without an offset is in UTC+8; with one it means what it says.
Rule 3: a date as spreadsheets write it is taken where it has one reading: the year first, or in Chinese, or a day above
12. `1/2/2027`, a year of two digits and a bare number are refused, with why.
Rule 4: nothing else knows of local time: all other code counts milliseconds of the Unix epoch.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

DAY_MS: Final = 86_400_000

_ZONE: Final = timezone(timedelta(hours=8), "UTC+8")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXPECTED: Final = "a date like 2026-12-31 (its end, UTC+8) or a time like 2026-12-31T18:00+08:00"

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,7}(\.[0-9]*)?", re.ASCII)
# What spreadsheets add to a date that has a time.
_CLOCK: Final = r"(?: (?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?)?"
_YEAR_FIRST: Final = re.compile(
    r"(?P<year>[0-9]{4})(?P<mark>[/.-])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})" + _CLOCK, re.ASCII
)
_CHINESE: Final = re.compile(
    r"(?P<year>[0-9]{4}) ?年 ?(?P<month>[0-9]{1,2}) ?月 ?(?P<day>[0-9]{1,2}) ?日" + _CLOCK, re.ASCII
)
_YEAR_LAST: Final = re.compile(
    r"(?P<one>[0-9]{1,2})(?P<mark>[/.-])(?P<other>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4})" + _CLOCK, re.ASCII
)
_SHORT_YEAR: Final = re.compile(r"[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{2}", re.ASCII)


def parse_time(text: str) -> int:
    """Return the milliseconds of a date or time. Raises ValueError, which says what was expected and why."""
    try:
        parsed, is_date = _parse(text)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=_ZONE)
        since = parsed - _EPOCH
    except (ValueError, OverflowError) as error:
        reason = f": {error}" if f"{error}" else ""
        raise ValueError(f"expected {_EXPECTED}, found {text[:60]!a}{reason}") from error
    milliseconds = since // timedelta(milliseconds=1)
    if is_date:
        milliseconds += DAY_MS - 1
    if milliseconds < 0:
        raise ValueError(f"expected a time from 1970 on, found {text!a}")
    return milliseconds


def _parse(text: str) -> tuple[datetime, bool]:
    """Return the moment that a text means, and whether it is a date alone, by its beginning. Raises ValueError."""
    if _DATE.fullmatch(text) or _TIME.fullmatch(text):
        return datetime.fromisoformat(text), _DATE.fullmatch(text) is not None
    if _NUMBER.fullmatch(text):
        raise ValueError("a number; in a spreadsheet, format the cell as a date, like 2026-12-31")
    found = _YEAR_FIRST.fullmatch(text) or _CHINESE.fullmatch(text)
    if found is not None:
        year, month, day = (int(found[name]) for name in ("year", "month", "day"))
    elif (found := _YEAR_LAST.fullmatch(text)) is not None:
        year, month, day = int(found["year"]), *_month_and_day(int(found["one"]), int(found["other"]))
    elif _SHORT_YEAR.fullmatch(text):
        raise ValueError("a year of two digits, so day, month and year cannot be told apart")
    else:
        raise ValueError
    if found["hour"] is None:
        return datetime(year, month, day), True
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    if hour == minute == second == 0:
        raise ValueError("0:00 may be a spreadsheet's, for the whole day; write the date alone")
    return datetime(year, month, day, hour, minute, second), False


def _month_and_day(one: int, other: int) -> tuple[int, int]:
    """Return month and day of a date that ends in its year, where it has one reading. Raises ValueError."""
    if one == other or one > 12 >= other:
        return other, one
    if other > 12 >= one:
        return one, other
    if one > 12:
        raise ValueError("no month")
    raise ValueError(f"day {one} of month {other}, or day {other} of month {one}; write year, month, day")


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


def iso_time(milliseconds: int) -> str:
    """Return a time in UTC+8 for tables, like `2026-12-31T23:59:59+08:00`: cut to the second, as ISO 8601 has it."""
    try:
        moment = (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(_ZONE)
    except OverflowError:
        return ""
    return moment.isoformat(timespec="seconds")
