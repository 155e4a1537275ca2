"""Processes of nodes: known by their id and start, written down in their home, and never taken for another."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli import network as commands
from cli import processes
from cli.exits import FINE, USAGE, CommandError
from cli.processes import (
    LOG_FILE,
    NETWORK_FILE,
    PROCESS_FILE,
    Process,
    find_node,
    find_nodes,
    is_running,
    send_signal,
    start_node,
    stop_node,
    stop_process,
)
from cli.program import run
from node.lifeline import Lifeline

PATIENCE_S = 60.0
SLEEPING = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPING

Start = Callable[[Path], "subprocess.Popen[bytes]"]


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which what is started as a node does nothing but run; all of it is ended afterwards."""
    program = tmp_path / "program"
    (program / "cli").mkdir(parents=True)
    (program / "cli" / "__init__.py").touch()
    (program / "cli" / "main.py").write_text(SLEEPING)
    # A module is looked for in the present folder first.
    monkeypatch.chdir(program)
    folder = tmp_path / "networks"
    folder.mkdir()
    yield folder
    for process in find_nodes(folder):
        send_signal(process, signal.SIGKILL)


@pytest.fixture
def lifeline() -> Iterator[Lifeline]:
    with Lifeline() as made:
        yield made


@pytest.fixture
def start(nodes: Path, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a node that only runs, and waits until it does."""
    started: list[subprocess.Popen[bytes]] = []

    def start_another(
        home: Path, *, passphrase_file: Path | None, lifeline: Lifeline
    ) -> "subprocess.Popen[bytes]":
        started.append(start_node(home, passphrase_file=passphrase_file, lifeline=lifeline))
        return started[-1]

    def start_one(home: Path) -> "subprocess.Popen[bytes]":
        home.mkdir(parents=True, exist_ok=True)
        process = start_another(home, passphrase_file=None, lifeline=lifeline)
        wait_for(lambda: "up" in (home / LOG_FILE).read_text())
        return process

    # What a command starts is waited for here too.
    monkeypatch.setattr(commands, "start_node", start_another)
    yield start_one
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.01)


def found(home: Path) -> Process:
    process = find_node(home)
    assert process is not None
    return process


def test_a_home_whose_name_begins_another_is_not_that_one(nodes: Path, start: Start) -> None:
    one, other = start(nodes / "net" / "a"), start(nodes / "net2" / "a")
    third = start(nodes / "a" / "net")
    assert [process.pid for process in find_nodes(nodes / "net")] == [one.pid]
    assert [process.pid for process in find_nodes(nodes / "net2" / "a")] == [other.pid]
    assert {process.pid for process in find_nodes(nodes)} == {one.pid, other.pid, third.pid}
    assert stop_node(nodes / "net" / "a")
    assert one.wait(PATIENCE_S) == -signal.SIGTERM
    assert other.poll() is None and third.poll() is None
    assert not stop_node(nodes / "net" / "a")


def test_an_argument_that_only_looks_like_a_home_is_none(nodes: Path) -> None:
    script = nodes / "cli.main node start --home"
    script.mkdir(parents=True)
    home = nodes / "net" / "a"
    home.mkdir(parents=True)
    command = [sys.executable, "-c", SLEEPING, "-m", "cli.main", "node", "start", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=script) as process:
        try:
            assert find_nodes(home) == [] and find_node(home) is None and not stop_node(home)
            assert process.poll() is None
        finally:
            process.kill()


def test_a_home_that_was_moved_is_still_the_same(nodes: Path, start: Start) -> None:
    process = start(nodes / "net" / "a")
    (nodes / "net").rename(nodes / "moved")
    assert found(nodes / "moved" / "a").pid == process.pid
    assert stop_node(nodes / "moved" / "a")
    assert process.wait(PATIENCE_S) == -signal.SIGTERM


def test_a_copy_of_a_home_has_no_process(nodes: Path, start: Start) -> None:
    process = start(nodes / "net" / "a")
    shutil.copytree(nodes / "net", nodes / "copy", copy_function=shutil.copy2)
    assert (nodes / "copy" / "a" / PROCESS_FILE).exists()
    assert find_node(nodes / "copy" / "a") is None
    assert not stop_node(nodes / "copy" / "a")
    assert process.poll() is None and found(nodes / "net" / "a").pid == process.pid


def rewrite(home: Path, **changes: object) -> None:
    """Change what a home says of its process."""
    path = home / PROCESS_FILE
    value = json.loads(path.read_text())
    value["process"] |= changes
    path.write_text(json.dumps(value))


def test_an_id_that_passed_to_another_process_is_left_alone(nodes: Path, start: Start) -> None:
    home = nodes / "net" / "a"
    process = start(home)
    with subprocess.Popen([sys.executable, "-c", SLEEPING], stdout=subprocess.DEVNULL) as innocent:
        try:
            rewrite(home, pid=innocent.pid)
            assert find_node(home) is None and not stop_node(home)
            for number in (signal.SIGTERM, signal.SIGKILL):
                send_signal(Process(innocent.pid, "at another time"), number)
            stop_process(Process(innocent.pid, "at another time"))
            assert innocent.poll() is None and process.poll() is None
        finally:
            innocent.kill()


def test_another_boot_of_the_system_had_other_processes(nodes: Path, start: Start) -> None:
    home = nodes / "net" / "a"
    process = start(home)
    boot, _, ticks = found(home).started.partition(" ")
    assert ticks.isdigit()
    rewrite(home, started=f"{boot[::-1]} {ticks}")
    assert find_node(home) is None and not stop_node(home)
    assert process.poll() is None


def test_what_has_ended_is_not_running_though_nobody_waited_for_it(nodes: Path, start: Start) -> None:
    home = nodes / "net" / "a"
    process = start(home)
    known = found(home)
    process.kill()
    wait_for(lambda: not is_running(known))
    assert find_node(home) is None and find_nodes(nodes) == [] and not stop_node(home)
    send_signal(known, signal.SIGTERM)
    process.wait()
    send_signal(known, signal.SIGTERM)
    assert not is_running(known)


def test_a_node_that_does_not_end_is_killed(
    nodes: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("cli/main.py").write_text(DEAF)
    monkeypatch.setattr(processes, "STOP_SECONDS_MAX", 0.2)
    process = start(nodes / "net" / "a")
    assert stop_node(nodes / "net" / "a")
    assert process.wait(PATIENCE_S) == -signal.SIGKILL


@pytest.mark.parametrize("kernel", ["unknown", "old"])
def test_signals_are_as_careful_where_the_system_has_no_descriptors_of_processes(
    kernel: str, nodes: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    if kernel == "unknown":
        monkeypatch.delattr(os, "pidfd_open")
    process = start(nodes / "net" / "a")
    known = found(nodes / "net" / "a")
    send_signal(replace(known, started="at another time"), signal.SIGKILL)
    assert process.poll() is None
    stop_process(known)
    assert process.wait(PATIENCE_S) == -signal.SIGTERM
    send_signal(known, signal.SIGTERM)


PS = """\
#!/bin/sh
# What macOS answers, for one process: {pid}.
case "$*" in
  *pid=*) echo " {pid}" ;;
  *"-p {pid}") case "$*" in
      *lstart*) echo "{state}   Tue Dec  1 10:22:29 2026    " ;;
      *command*) echo "/usr/bin/python3 -m cli.main node start --home {home}{more}" ;;
    esac ;;
esac
"""


@pytest.fixture
def ps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a `ps` in place that answers as macOS does, where there is no /proc."""
    monkeypatch.setattr(processes, "_BOOT", tmp_path / "nowhere")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(*, home: Path, pid: int = 4711, state: str = "S", more: str = "") -> None:
        path = folder / "ps"
        path.write_text(PS.format(pid=pid, state=state, home=home, more=more))
        path.chmod(0o755)

    return put


def test_where_there_is_no_proc_ps_says_when_a_process_started(
    ps: Callable[..., None], tmp_path: Path
) -> None:
    ps(home=tmp_path)
    known = Process(4711, "Tue Dec 1 10:22:29 2026")
    assert is_running(known)
    assert not is_running(replace(known, started="Tue Dec 1 10:22:30 2026"))
    assert not is_running(replace(known, pid=4712))
    ps(home=tmp_path, state="Z")
    assert not is_running(known)


@pytest.mark.parametrize("more", ["", " --passphrase-file /secret/pass phrase"])
def test_where_there_is_no_proc_nodes_are_found_by_the_path_of_their_home(
    ps: Callable[..., None], tmp_path: Path, more: str
) -> None:
    home = (tmp_path / "a net" / "home with spaces").resolve()
    home.mkdir(parents=True)
    ps(home=home, more=more)
    assert find_nodes(tmp_path / "a net") == [Process(4711, "Tue Dec 1 10:22:29 2026")]
    assert find_nodes(tmp_path / "a") == []
    assert find_nodes(tmp_path / "a net" / "home") == []


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_node_that_cannot_be_written_down_is_not_left_running(
    kind: str, nodes: Path, lifeline: Lifeline
) -> None:
    home = nodes / "net" / "a"
    home.mkdir(parents=True)
    make_unfit(home / PROCESS_FILE, kind)
    with pytest.raises(CommandError) as refused:
        start_node(home, passphrase_file=None, lifeline=lifeline)
    assert refused.value.where == f"{home / PROCESS_FILE}"
    assert find_nodes(nodes) == []
    with pytest.raises(CommandError):
        stop_node(home)


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_log_that_is_no_file_is_refused_before_anything_is_started(
    kind: str, nodes: Path, lifeline: Lifeline
) -> None:
    home = nodes / "net" / "a"
    home.mkdir(parents=True)
    make_unfit(home / LOG_FILE, kind)
    with pytest.raises(OSError, match="expected a regular file, found a"):
        start_node(home, passphrase_file=None, lifeline=lifeline)
    assert find_nodes(nodes) == [] and not (home / PROCESS_FILE).exists()
    assert not (nodes / "elsewhere").exists()


def make_unfit(path: Path, kind: str) -> None:
    match kind:
        case "link":
            path.symlink_to("../../elsewhere")
        case "pipe":
            os.mkfifo(path)
        case _:
            path.mkdir()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"process": 1}', bytes(2_000)])
def test_a_record_that_cannot_be_read_is_named_and_not_passed_over(content: bytes, nodes: Path) -> None:
    home = nodes / "net" / "a"
    home.mkdir(parents=True)
    (home / PROCESS_FILE).write_bytes(content)
    with pytest.raises(CommandError) as refused:
        find_node(home)
    assert refused.value.exit_code == USAGE
    assert refused.value.cure == f"End the node by hand if it runs, and remove {home / PROCESS_FILE}."


# -- the commands -----------------------------------------------------------------------------------


@pytest.fixture
def network(nodes: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["network", "new", str(nodes / "net")]) == FINE
    capsys.readouterr()
    return nodes / "net"


def test_down_stops_nodes_that_were_never_listed(
    network: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["network", "down", str(network)]) == USAGE  # `up` never ran
    capsys.readouterr()
    started = {member: start(network / member) for member in ("hk-operator", "sz-operator")}
    assert not (network / NETWORK_FILE).exists()
    assert run(["network", "down", str(network), "--json"]) == FINE
    assert json.loads(capsys.readouterr().out) == {"stopped": ["hk-operator", "sz-operator"]}
    assert {process.wait(PATIENCE_S) for process in started.values()} == {-signal.SIGTERM}
    assert run(["network", "down", str(network), "--json"]) == FINE
    assert json.loads(capsys.readouterr().out) == {"stopped": []}


def test_down_in_a_folder_that_was_moved_stops_its_nodes_and_none_of_a_copy(
    network: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(network / "hk-operator")
    other = start(network.with_name("net2") / "hk-operator")
    shutil.copytree(network, network.with_name("copy"))
    network.rename(network.with_name("moved"))
    for name, stopped in (("copy", []), ("moved", ["hk-operator"])):
        assert run(["network", "down", str(network.with_name(name)), "--json"]) == FINE
        assert json.loads(capsys.readouterr().out) == {"stopped": stopped}
    assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert other.poll() is None


def test_a_node_that_an_earlier_release_started_is_known_by_its_id_and_the_path_of_its_home(
    network: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    members = ("hk-operator", "sz-operator", "mainland-bank")
    started = {member: start(network / member) for member in members}
    for member in members:
        (network / member / PROCESS_FILE).unlink()
    # That one's id is listed for another member, so it is nobody's.
    ids = {"hk-operator": started["hk-operator"].pid, "sz-operator": started["mainland-bank"].pid}
    nodes = [{"member": each, "url": "http://127.0.0.1:1", "pid": pid} for each, pid in ids.items()]
    (network / NETWORK_FILE).write_text(json.dumps({"nodes": nodes}))
    assert run(["network", "down", str(network), "--json"]) == FINE
    assert json.loads(capsys.readouterr().out) == {"stopped": ["hk-operator"]}
    assert started["hk-operator"].wait(PATIENCE_S) == -signal.SIGTERM
    assert started["sz-operator"].poll() is None and started["mainland-bank"].poll() is None


def test_up_does_not_start_a_node_that_runs_though_nobody_listed_it(
    network: Path, start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ready(*_arguments: object, **_more: object) -> None:
        """All are, as far as this story goes."""

    monkeypatch.setattr(commands, "_wait_until_ready", ready)
    first = start(network / "hk-operator")
    assert run(["network", "up", str(network), "--json"]) == FINE
    listed = {node["member"]: node["pid"] for node in json.loads(capsys.readouterr().out)["nodes"]}
    assert listed["hk-operator"] == first.pid and len(set(listed.values())) == len(listed) == 4
    assert {process.pid for process in find_nodes(network)} == set(listed.values())
    assert run(["network", "up", str(network), "--json"]) == FINE
    again = {node["member"]: node["pid"] for node in json.loads(capsys.readouterr().out)["nodes"]}
    assert again == listed
    assert run(["network", "down", str(network)]) == FINE
    assert find_nodes(network) == []


def test_up_that_fails_stops_what_it_started_and_nothing_else(
    network: Path, start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def never(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_wait_until_ready", never)
    first = start(network / "hk-operator")
    assert run(["network", "up", str(network)]) != FINE
    assert [process.pid for process in find_nodes(network)] == [first.pid]
    listed = json.loads((network / NETWORK_FILE).read_text())["nodes"]
    assert [node["member"] for node in listed] == ["hk-operator"]
    capsys.readouterr()
