"""Local time has one room: a second one would show another hour, or end a day elsewhere."""

import re

import pytest

from node.localtime import end_of_day, parse_time, show_time
from tests.support.sources import ROOT

LOCAL = re.compile(
    r"strftime|strptime|fromisoformat|fromtimestamp|astimezone|timezone\(|ZoneInfo|localtime\("
)


def find_local_time(source: str) -> list[str]:
    return LOCAL.findall(source)


def test_no_other_module_knows_local_time() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("ledger", "node", "cli")
        for path in (ROOT / folder).rglob("*.py")
        if find_local_time(path.read_text("utf-8"))
    }
    assert found == {"node/localtime.py"}


@pytest.mark.parametrize(
    "source", ["moment.strftime('%H')", "datetime.fromtimestamp(1)", "timezone(timedelta(hours=8))"]
)
def test_the_search_for_local_time_would_notice(source: str) -> None:
    assert find_local_time(source)


def test_a_day_ends_in_hong_kong_and_beijing() -> None:
    last = parse_time("2026-12-31")
    assert show_time(last) == "2026-12-31 23:59:59 UTC+8"
    assert end_of_day(last) == last
    assert end_of_day(last + 1) == parse_time("2027-01-01")
    assert parse_time("2026-12-31T16:00+00:00") == last + 1


def test_a_time_past_every_calendar_is_shown_all_the_same() -> None:
    assert show_time(2**53 - 1) == "9007199254740991 ms after 1970"
