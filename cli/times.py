"""Times and durations as users write them on the command line; dates and local time are those of node/localtime.py.

Rule 1: inside the program every time is in milliseconds of the Unix epoch.
Rule 2: what people read has dates and durations, errors too: `in_words` writes them in place of milliseconds, in errors
that are about times and in no other. JSON keeps the milliseconds.
"""

import re
import time
from typing import Final

import click

from node.localtime import DAY_MS
from node.localtime import end_of_day as end_of_day
from node.localtime import iso_time as iso_time
from node.localtime import parse_time as parse_time
from node.localtime import show_time as show_time

DURATION_MAX_MS: Final = 3_660 * DAY_MS

TIME_CODES: Final = frozenset(
    (
        *("stale-proof", "clock-behind", "not-yet-anchored", "document-expired", "consent-period"),
        *("disclosure-clock", "expired", "beyond-horizon"),
    )
)
TIME_PLACES: Final = frozenset(("key binding iat",))

# From 2001 on a time has 13 digits. No duration here is as long.
_TIMES_FROM_MS: Final = 10**12
_MILLISECONDS: Final = re.compile(r"(?<![\w.-])(?P<number>[0-9]{1,15})(?P<unit> ms)?(?!\w)", re.ASCII)
_DURATION: Final = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])", re.ASCII)
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


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


def show_duration(milliseconds: int) -> str:
    """Return a duration for people, in the largest unit that keeps it readable."""
    for unit, size in (("d", DAY_MS), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds >= 2 * size:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds} ms"


def show_span(milliseconds: int) -> str:
    """Return a duration for people in its two largest units, so that one that is a little longer is seen to be."""
    parts: list[str] = []
    for unit, size in (("d", DAY_MS), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)):
        # A day and a half is 36 h to people who count ages of proofs in hours.
        if milliseconds >= (2 * size if unit == "d" else size) and len(parts) < 2:
            parts.append(f"{milliseconds // size} {unit}")
            milliseconds %= size
    return " ".join(parts) or "0 s"


def in_words(text: str, *, code: str, where: str) -> str:
    """Return a text of an error as people read it (rule 2): `expected` or `found`, as its code and place say."""
    if code not in TIME_CODES and where not in TIME_PLACES:
        return text

    def shown(found: re.Match[str]) -> str:
        number = int(found["number"])
        if number >= _TIMES_FROM_MS:
            return show_time(number)
        return show_span(number) if found["unit"] else found[0]

    return _MILLISECONDS.sub(shown, text)


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
