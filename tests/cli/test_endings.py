"""Commands that are ended at any moment, in any way: no process and no file of theirs is left."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.bulk import JOURNAL_SUFFIX
from cli.exits import FINE, INTERRUPTED, USAGE
from cli.processes import NETWORK_FILE, find_node, find_nodes, send_signal
from cli.times import show_time
from ledger.trust import trusted_root_to_json
from tests.support.clocked import luohu_at
from tests.support.consortium import LATER_MS
from tests.support.endings import CAN_TELL, end_in_between
from tests.support.running_network import make_network
from tests.support.sources import ROOT
from tests.support.story import Story, tell

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CAN_TELL, reason="only Linux gives a process what is orphaned below it"),
]

LUOHU = (sys.executable, "-m", "cli.main")
NUMBERS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
ROWS = 6_000


def moment(*names: object) -> float:
    """Return a moment of this case: another in each case, the same in each run."""
    return random.Random(repr(names)).random()


def luohu(*arguments: str | Path) -> int:
    command = [*LUOHU, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=120, check=False).returncode


def check_listed(network: Path) -> None:
    """Check that four nodes run, and that these are listed, each in its home as well."""
    listed = json.loads((network / NETWORK_FILE).read_text())["nodes"]
    assert len(listed) == 4
    assert {process.pid for process in find_nodes(network)} == {node["pid"] for node in listed}
    assert all(find_node(network / node["member"]) for node in listed)


def expected_code(number: signal.Signals) -> int:
    return -number if number == signal.SIGKILL else INTERRUPTED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where temporary files lie for a command."""
    made = tmp_path / "tmp"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = tell(tmp_path_factory.mktemp("story"))
    yield told
    told.world.close()


# -- any command ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_shows_no_fault_at_whatever_moment(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [*LUOHU, "trust", "check", str(tmp_path / "missing.json")]
    codes = set()
    for step in range(16):
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(0.03 * step)
            process.send_signal(number)
            told = process.communicate(timeout=60)[1]
        codes.add(process.returncode)
        assert "Traceback" not in told and "a fault of its own" not in told
    assert codes <= {-number, INTERRUPTED, USAGE}


# -- a manifest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("of_group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_manifest_that_is_ended_leaves_no_worker_and_its_journal_alone(
    story: Story, tmp_path: Path, folder: Path, number: signal.Signals, of_group: bool
) -> None:
    place = tmp_path / "manifest"
    place.mkdir()
    (place / "report.pdf").write_bytes(story.document)
    (place / "report.pdf.proof").write_bytes(story.proof.encode())
    (place / "request").write_bytes(story.request.encode())
    (place / "trust.json").write_text(json.dumps(trusted_root_to_json(story.trust)))
    (place / "in.csv").write_text("report.pdf,,request\n" * ROWS)
    given = {*place.iterdir()}
    at = show_time(story.now_ms).replace(" UTC+8", "")
    arguments = ["verify", "--manifest", str(place / "in.csv"), "--trust", str(place / "trust.json")]
    command = luohu_at(LATER_MS, [*arguments, "--at", at, "--out", str(place / "out.csv"), "--jobs", "3"])
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "TMPDIR": str(folder)}
    ended = end_in_between(
        command,
        number,
        begun=place,
        pattern=f"*{JOURNAL_SUFFIX}",
        later_s=moment(number, of_group),
        of_group=of_group,
        environment=environment,
    )
    assert ended.was_running and ended.survivors == []
    # From its journal the same call goes on.
    left = {*place.iterdir()} - given
    assert left in ({place / f"out.csv{JOURNAL_SUFFIX}"}, {place / "out.csv"})
    assert [*folder.iterdir()] == []


# -- a network --------------------------------------------------------------------------------------


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "net"
    make_network(directory)
    yield directory
    for process in find_nodes(tmp_path):
        send_signal(process, signal.SIGKILL)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("trial", range(2))
def test_an_up_that_is_ended_leaves_no_node_and_the_next_one_starts_all(
    network: Path, folder: Path, number: signal.Signals, trial: int
) -> None:
    up = (*LUOHU, "network", "up", str(network))
    ended = end_in_between(
        up,
        number,
        begun=network,
        pattern="*/node.log",
        later_s=0.6 * moment(number, trial),
        environment={"TMPDIR": str(folder)},
    )
    assert ended.was_running and ended.survivors == []
    assert ended.code == expected_code(number)
    assert find_nodes(network) == [] and [*folder.iterdir()] == []
    assert luohu("network", "up", network) == FINE
    check_listed(network)
    assert luohu("network", "down", network) == FINE
    assert find_nodes(network) == []


STEPS = {
    "the first node is started and not written down": ("cli.processes._record", 1),
    "the third node is started and not written down": ("cli.processes._record", 3),
    "all are written down and none is listed": ("cli.network._write_network_file", 1),
    "all are ready and none is let go": ("node.lifeline.Lifeline.let_go", 1),
}
# Kills itself in place of a step, the time that is named.
KILLED = """
import os, signal, sys
from unittest.mock import patch
from pkgutil import resolve_name
step, times, network = sys.argv[1], int(sys.argv[2]), sys.argv[3]
perform, count = resolve_name(step), 0
def perform_or_die(*arguments, **named):
    global count
    count += 1
    if count == times:
        os.kill(os.getpid(), signal.SIGKILL)
    return perform(*arguments, **named)
sys.argv = ["luohu", "network", "up", network]
from cli.main import main
with patch(step, perform_or_die):
    main()
"""


@pytest.mark.parametrize("step", STEPS)
def test_an_up_that_is_killed_at_a_step_leaves_no_node(network: Path, folder: Path, step: str) -> None:
    name, times = STEPS[step]
    ended = end_in_between(
        (sys.executable, "-c", KILLED, name, str(times), network),
        signal.SIGKILL,
        begun=network,
        pattern="never",
        later_s=0,
        environment={"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
    )
    assert (ended.code, ended.was_running, ended.survivors) == (-signal.SIGKILL, False, [])
    assert len([*network.glob("*/node.log")]) == (times if name == "cli.processes._record" else 4)
    assert find_nodes(network) == [] and luohu("network", "down", network) in (FINE, USAGE)


def test_an_up_right_after_one_that_was_killed_starts_all(network: Path, folder: Path) -> None:
    up = [*map(str, LUOHU), "network", "up", str(network)]
    # The second begins while nodes of the first still end.
    script = (
        "import subprocess, sys, time, pathlib\n"
        f"first = subprocess.Popen({up!r})\n"
        f"while len([*pathlib.Path({str(network)!r}).glob('*/node.process')]) < 3: time.sleep(0.01)\n"
        "first.kill()\n"
        f"sys.exit(subprocess.run({up!r}).returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "TMPDIR": str(folder)}, check=False
    )
    assert done.returncode == FINE
    check_listed(network)
    assert luohu("network", "down", network) == FINE


@pytest.mark.parametrize("number", NUMBERS)
def test_a_network_that_is_ended_while_it_is_made_leaves_nothing_that_the_next_call_does_not_remove(
    tmp_path: Path, folder: Path, number: signal.Signals
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    ended = end_in_between(
        (*LUOHU, "network", "new", str(place / "net")),
        number,
        begun=place,
        pattern=".net.*.new",
        later_s=0.1 * moment(number),
        environment={"TMPDIR": str(folder)},
    )
    assert ended.survivors == []
    if number != signal.SIGKILL or not ended.was_running:
        assert [path.name for path in place.iterdir()] in ([], ["net"])
    if not (place / "net").exists():
        assert luohu("network", "new", place / "net") == FINE
    assert [path.name for path in place.iterdir()] == ["net"] and [*folder.iterdir()] == []


# -- the demo ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "of_group", "later_s"),
    [
        (signal.SIGKILL, False, 0.3),
        (signal.SIGKILL, False, 2.5),
        (signal.SIGKILL, False, 4.0),
        (signal.SIGKILL, True, 3.0),
        (signal.SIGHUP, True, 3.0),
    ],
)
def test_a_demo_that_is_ended_leaves_no_process_and_no_file(
    folder: Path, number: signal.Signals, of_group: bool, later_s: float
) -> None:
    ended = end_in_between(
        (*LUOHU, "demo"),
        number,
        begun=folder,
        pattern="luohu-demo-*",
        later_s=later_s,
        of_group=of_group,
        environment={"TMPDIR": str(folder)},
    )
    assert ended.was_running and ended.survivors == []
    assert [*folder.iterdir()] == []
