"""What one run of the tests is: in which order, in which processes, and what it tells at its end beside passing.

Rule 1: what is marked `slow` starts first, so that no process is left alone with it, and `last` comes last.
Rule 2: every process of a run collects the same tests in the same order.
Rule 3: how slow the machine is fails no test: what Hypothesis draws has no deadline.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.support.machine import jobs_of_machine

SUMMARIES: Final[dict[str, list[str]]] = {}
"""Lines to print at the end, by title. Tests add to it, in whichever process they run."""
_SENT: Final = "summaries"

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def folder_of_run(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this run of the tests share, and no other run."""
    own = factory.getbasetemp()
    return own.parent if own.name.startswith("popen-") else own


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how much the simulation of whole nodes plays."""
    text = "how many fixed histories of whole nodes to play, and as many that are the commit's own"
    parser.addoption("--seeds", type=int, default=150, help=text)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use one process more than there are processors: some tests only wait for nodes that they started."""
    return jobs_of_machine() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first, and what reads what others left last."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if item.get_closest_marker("last"):
        return 2
    return 0 if item.get_closest_marker("slow") else 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the summaries to the process that prints them, if that is another."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_SENT] = SUMMARIES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take what a process sent at its end; one that crashed sent nothing."""
    SUMMARIES.update(getattr(node, "workeroutput", {}).get(_SENT, {}))


def seconds_by_folder(reports: Iterable[object]) -> list[str]:
    """Return what the tests of each folder took together, in all processes."""
    found: defaultdict[str, float] = defaultdict(float)
    for report in reports:
        if isinstance(report, pytest.TestReport):
            found[report.nodeid.partition("::")[0].rpartition("/")[0]] += report.duration
    return [f"{seconds:>9.1f}  {folder}" for folder, seconds in sorted(found.items())]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the summaries, and what each folder took where there are several."""
    took = seconds_by_folder(chain.from_iterable(terminalreporter.stats.values()))
    if len(took) > 1:
        SUMMARIES["seconds by folder"] = took
    for title, lines in SUMMARIES.items():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)
