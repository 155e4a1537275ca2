"""Every line of a log is an event with a stable name and fields: `block.finalized height=812 txs=40`.

Rule 1: `room.event_name`, in small letters and underscores, then fields `key=value`, then what it means, after a colon.
Rule 2: an event that is critical anywhere is critical everywhere: an operator's alarm goes by the name.
Rule 3: the operators' page names only events that exist.
"""

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.node_world import VALIDATORS, World
from tests.support.sources import ROOT, nodes_of, parsed

LEVELS = ("debug", "info", "warning", "error", "critical", "exception", "log")
FORM = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*( [a-z_]+=%(s|d|r|\.\d+f))*(: [^%]+(%s)?)?")
NAME = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
# Where the core traced something, its driver logs the name that the core gave.
GIVEN_BY_THE_CORE = ("node/replica/driver.py", "debug", "%s %s")


class Logged(NamedTuple):
    """A call that logs: where it stands, its level, and its format where that is written out."""

    path: str
    level: str
    text: str | None

    @property
    def event(self) -> str:
        return (self.text or "").partition(" ")[0].partition(":")[0]


def find_logged(source: str, path: str) -> Iterator[Logged]:
    for node in nodes_of(parsed(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_log = node.func.attr in LEVELS and "logg" in ast.unparse(node.func.value)
            is_trace = node.func.attr == "trace"
            if is_log or is_trace:
                first = node.args[0]
                text = first.value if isinstance(first, ast.Constant) else None
                yield Logged(path, node.func.attr, text if isinstance(text, str) else None)


def all_logged() -> list[Logged]:
    paths = sorted(path for folder in ("ledger", "node", "cli") for path in (ROOT / folder).rglob("*.py"))
    return [logged for path in paths for logged in find_logged(path.read_text(), str(path.relative_to(ROOT)))]


def find_misshapen(found: list[Logged]) -> list[Logged]:
    return [
        each
        for each in found
        if each != GIVEN_BY_THE_CORE and (each.text is None or not FORM.fullmatch(each.text))
    ]


def find_sometimes_critical(found: list[Logged]) -> set[str]:
    critical = {each.event for each in found if each.level == "critical"}
    return {each.event for each in found if each.level != "critical"} & critical


def find_named_events(page: str) -> set[str]:
    """Return the events that the page's table of log events names."""
    table = page.partition("| log | means |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_log_line_is_an_event_with_fields() -> None:
    found = all_logged()
    assert len(found) > 50
    assert GIVEN_BY_THE_CORE in found
    assert find_misshapen(found) == []


def test_no_event_is_critical_in_one_place_only() -> None:
    assert find_sometimes_critical(all_logged()) == set()


def test_the_operators_page_names_events_that_exist() -> None:
    named = find_named_events((ROOT / "docs" / "operators.md").read_text())
    assert {"node.failed", "node.stopped", "consensus.misbehaviour"} <= named
    assert named <= {each.event for each in all_logged()}


def test_what_nodes_log_has_a_room_and_a_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="node")
    world = World(tmp_path)
    for member in VALIDATORS:
        world.start(member)
    world.run(1_000)
    world.close()
    names = {message.partition(" ")[0] for message in caplog.messages}
    assert {"consensus.view", "block.finalized"} <= names
    assert [name for name in names if not NAME.fullmatch(name)] == []


@pytest.mark.parametrize(
    "source",
    [
        'logger.info("ended")',
        'logger.info("desk.trust-refused reason=%s", error)',
        'logger.info("node.ended %s", member)',
        'logger.info("node.Ended")',
        'logger.info("consensus.consensus.view")',
        'logger.info(f"node.ended member={member}")',
        'logging.getLogger(__name__).error("something failed")',
        'self._emission.trace("other_epoch", epoch=1)',
        'logger.debug("%s %s", name, fields)',
    ],
)
def test_the_search_for_misshapen_events_would_notice(source: str) -> None:
    assert find_misshapen(list(find_logged(source, "node/elsewhere.py")))


def test_the_search_for_levels_would_notice() -> None:
    source = (
        'logger.critical("node.stopped reason=%s", reason)\nlogger.info("node.stopped member=%s", member)\n'
    )
    assert find_sometimes_critical(list(find_logged(source, "node/run.py"))) == {"node.stopped"}


def test_the_search_for_named_events_reads_the_first_column() -> None:
    page = "# Page\n\n| log | means |\n| --- | --- |\n| `a.b`, `c.d` | as `e.f` |\n\n| `g.h` | x |\n"
    assert find_named_events(page) == {"a.b", "c.d"}
