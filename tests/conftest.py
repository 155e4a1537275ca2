"""What one run of the tests is: in which order, in which processes, and what it tells at its end beside passing.

Rule 1: what is marked `slow` starts first, so that no process is left alone with it, and `last` comes last.
What is marked `busy` is spread among the other slow ones: it computes while these wait for nodes and disks.
Rule 2: every process of a run collects the same tests in the same order.
Rule 3: how slow the machine is fails no test: what Hypothesis draws has no deadline.
Rule 4: what was collected lives until the end, so nobody looks in it for garbage again; in all else, seldom.
Rule 5: key files are made so that they open quickly. What guessing a passphrase must cost is tested where it is stated.
Rule 6: what whoever started the run ignores (a shell's `&`, `nohup`), the processes of the tests do not.
"""

import gc
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from node.files import pkcs8
from tests.support.machine import jobs_of_machine

SUMMARIES: Final[dict[str, list[str]]] = {}
"""Lines to print at the end, by title. Tests add to it, in whichever process they run."""
_SENT: Final = "summaries"

# Garbage is looked for after 20,000 new objects: tests parse many sources, and little of it is garbage.
gc.set_threshold(20_000, 20, 20)

# Rule 6
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def folder_of_run(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this run of the tests share, and no other run."""
    own = factory.getbasetemp()
    return own.parent if own.name.startswith("popen-") else own


@pytest.fixture(scope="session", autouse=True)
def few_rounds() -> Iterator[None]:
    """Let a passphrase cost 100 rounds: at 600,000, the keys of a network take seconds to write and to read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pkcs8, "KDF_ROUNDS", 100)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how much the simulation of whole nodes plays."""
    text = "how many fixed histories of whole nodes to play, and as many that are the commit's own"
    parser.addoption("--seeds", type=int, default=150, help=text)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use two processes more than there are processors: many tests wait for their nodes, or for the disk."""
    return jobs_of_machine() + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first, and what reads what others left last."""
    first = [item for item in items if _place(item) == 0]
    busy = [item for item in first if item.get_closest_marker("busy")]
    others = [item for item in first if not item.get_closest_marker("busy")]
    rest = sorted((item for item in items if _place(item) > 0), key=_place)
    items[:] = [*spread(busy, others), *rest]


def spread(some: list[pytest.Item], others: list[pytest.Item]) -> list[pytest.Item]:
    """Return both lists as one, evenly mixed, each in its order."""
    placed = [((index + 0.5) / len(each), item) for each in (some, others) for index, item in enumerate(each)]
    return [item for _, item in sorted(placed, key=lambda pair: pair[0])]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave thousands of tests, and the modules that they import, out of every later search for garbage."""
    gc.collect()
    gc.freeze()


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
