"""The page of pools names each pool as the code has it, and a flood for each.

Rule 1: every size in the table is that of the constant, under its own name.
Rule 2: every flood that is named exists, and every flood of `make abuse` is named. A test that is named instead exists.
Rule 3: what is bounded together adds up as the page says.
"""

import re
from importlib import import_module

from node.api import bodies as api_bodies
from node.api import connection, events, places, submissions
from node.network.limits import PENDING_COUNT_MAX
from node.network.registry import PEERS_COUNT_MAX
from node.recipient import forms
from tests.campaigns.abuse.floods import FLOODS
from tests.support.sources import ROOT

PAGE = ROOT / "docs" / "pools.md"
SIZE = re.compile(r"`([a-z_.]+)\.([A-Z_]+)` = (\d+)")


def rows_of(page: str) -> list[list[str]]:
    """Return the cells of each row of the page's table."""
    table = page.partition("| pool | size |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def find_wrong(rows: list[list[str]]) -> list[str]:
    """Return what a row says that is not so."""
    wrong = []
    for name, size, _kept, _goes, floods in rows:
        for module, constant, value in SIZE.findall(size):
            found = getattr(import_module(module), constant)
            if found != int(value):
                wrong.append(f"{name}: {constant} is {found}, the page says {value}")
        absent = [flood for flood in re.findall(r"`([a-z_]+)`", floods) if flood not in FLOODS]
        absent += [path for path in re.findall(r"\btests/[a-z_/.]+", floods) if not (ROOT / path).is_file()]
        wrong += [f"{name}: there is no {each}" for each in absent]
    return wrong


def test_the_page_says_what_the_code_has() -> None:
    rows = rows_of(PAGE.read_text())
    assert len(rows) > 25 and all(len(row) == 5 for row in rows)
    assert find_wrong(rows) == []
    assert all(SIZE.search(row[1]) and row[4] for row in rows if row[0] != "threads")


def test_every_flood_is_on_the_page() -> None:
    named = {flood for row in rows_of(PAGE.read_text()) for flood in re.findall(r"`([a-z_]+)`", row[4])}
    assert set(FLOODS) - named == set()


def test_the_comparison_would_notice() -> None:
    good = ["x", "`node.recipient.forms.FORMS_MAX` = 64", "", "", "`half_forms`"]
    assert find_wrong([good]) == []
    for place, text in (
        (1, "`node.recipient.forms.FORMS_MAX` = 65"),
        (4, "`no_such_flood`"),
        (4, "tests/nowhere/test_nothing.py"),
    ):
        row = list(good)
        row[place] = text
        assert len(find_wrong([row])) == 1


def test_whoever_comes_finds_a_connection_whatever_waits_for_us() -> None:
    waiting = places.REQUESTS_MAX + submissions.WAITS_MAX + api_bodies.WAITING_MAX + events.SUBSCRIBERS_MAX
    assert connection.CONNECTIONS_MAX - waiting == 128
    waiting = forms.WAITING_MAX + forms.LARGE_WAITING_MAX + forms.UNPACKING_MAX
    assert connection.CONNECTIONS_MAX - waiting - forms.FORMS_MAX >= 128
    assert places.REQUESTS_MAX - places.REQUESTS_PER_ROUTE_MAX == 64
    assert connection.CONNECTIONS_MAX + PENDING_COUNT_MAX + PEERS_COUNT_MAX < 1_024
