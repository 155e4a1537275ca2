"""Times and durations as users write them on the command line; dates and local time are those of node/localtime.py.

Rule 1: inside the program every time is in milliseconds of the Unix epoch.
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
