"""Node processes that outlive the command which started them: how one is known, found and stopped.

Rule 1: a process is known by its id and the moment at which it started. An id alone is used again by others.
Rule 2: whoever starts a node writes down in its home which process it is, and of which folder. What was written in a
home that is a copy of another says nothing of this one; a home that was moved is still the same.
Rule 3: no signal goes to a process that is not the one written down, or found by the very path of its home.
Rule 4: a stopped node gets time to end by itself; only one that does not is killed, which loses nothing that
it promised.
Rule 5: a node is started on a lifeline (node/lifeline.py), and let go once it is ready and listed. Whoever starts nodes
and is killed in between, at whatever moment, leaves none.
"""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cli.exits import own_configuration, unreadable
from cli.files import read_file, write_file
from ledger.encoding.records import Identifier, Items, MemberId, Text, Uint, from_json, parse_json, to_json
from node.files.durablefile import PRIVATE_MODE, open_appending
from node.files.reading import open_within
from node.lifeline import Lifeline

NETWORK_FILE: Final = "network.json"
PROCESS_FILE: Final = "node.process"
LOG_FILE: Final = "node.log"
NETWORK_FILE_SIZE_MAX: Final = 64 * 1024
PROCESS_FILE_SIZE_MAX: Final = 1024
NODES_MAX: Final = 256
PID_MAX: Final = 2**31 - 1
STOP_SECONDS_MAX: Final = 15.0
POLL_SECONDS: Final = 0.05

_PROC: Final = Path("/proc")
_BOOT: Final = _PROC / "sys" / "kernel" / "random" / "boot_id"
_ENDED: Final = frozenset("ZXx")
_NODE: Final = ("-m", "cli.main", "node", "start", "--home")
# `ps` joins the arguments by spaces, which a path may have too: the home ends where the next option begins.
_NODE_WORDS: Final = re.compile(r" -m cli\.main node start --home (?P<home>.+?)(?: --passphrase-file .*)?\Z")

Url = Annotated[str, Identifier("url", 300, r"https?://[A-Za-z0-9.:\[\]-]+")]


@dataclass(frozen=True, slots=True)
class ListedNode:
    """A node of a running network: its member, the URL of its API, and its process id."""

    member: MemberId
    url: Url
    pid: Annotated[int, Uint(PID_MAX, minimum=1)]


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """The content of network.json."""

    nodes: Annotated[tuple[ListedNode, ...], Items(NODES_MAX)]


@dataclass(frozen=True, slots=True)
class Process:
    """A process, as no other is: its id, and when it started, in the words of the system (and of one boot of it)."""

    pid: Annotated[int, Uint(PID_MAX, minimum=1)]
    started: Annotated[str, Text(200)]


@dataclass(frozen=True, slots=True)
class RecordedProcess:
    """The content of node.process in a home: which process was started as its node, and in which folder."""

    process: Process
    folder: Annotated[str, Text(100)]


def read_network_file(directory: Path) -> NetworkFile:
    """Return what network.json lists. Raises CommandError with exit code 2."""
    text = read_file(directory / NETWORK_FILE, size_max=NETWORK_FILE_SIZE_MAX)
    with own_configuration("Remove network.json and run `luohu network up` again."):
        return from_json(NetworkFile, parse_json(text, size_max=NETWORK_FILE_SIZE_MAX))


def start_node(home: Path, *, passphrase_file: Path | None, lifeline: Lifeline) -> "subprocess.Popen[bytes]":
    """Start a node's process on a home, detached, its output appended to the home's log, and write down which it is.

    It ends with the lifeline, unless it is let go. Raises OSError, or CommandError, and then no process is left.
    """
    command = [sys.executable, *_NODE, str(home.resolve())]
    if passphrase_file is not None:
        command += ["--passphrase-file", str(passphrase_file.resolve())]
    descriptor = open_appending(home / LOG_FILE)
    try:
        started = subprocess.Popen(
            command,
            stdin=lifeline.descriptor,
            stdout=descriptor,
            stderr=descriptor,
            env=lifeline.environment,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    try:
        _record(home, started.pid)
    except BaseException:
        started.kill()
        started.wait()
        raise
    return started


def _record(home: Path, pid: int) -> None:
    begun = _start_of(pid)
    if begun is None:
        # It has ended already; its log says why.
        return
    recorded = RecordedProcess(Process(pid, begun), _folder_of(home))
    text = json.dumps(to_json(recorded), indent=2) + "\n"
    write_file(home / PROCESS_FILE, text.encode(), mode=PRIVATE_MODE)


def find_node(home: Path) -> Process | None:
    """Return the process that was started as the node of this home, if it still runs. Raises CommandError."""
    path = home / PROCESS_FILE
    try:
        with open_within(home, PROCESS_FILE) as file:
            text = file.read(PROCESS_FILE_SIZE_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(str(path), error) from error
    with own_configuration(f"End the node by hand if it runs, and remove {path}."):
        recorded = from_json(RecordedProcess, parse_json(text, size_max=PROCESS_FILE_SIZE_MAX))
    if recorded.folder != _folder_of(home):
        return None
    return recorded.process if is_running(recorded.process) else None


def find_nodes(directory: Path) -> list[Process]:
    """Return every node that was started on a home below a directory, by the path of its home, written down or not."""
    inside = directory.resolve()
    return [process for process, home in _nodes_among(_pids()) if home.is_relative_to(inside)]


def wait_for_unrecorded(directory: Path) -> None:
    """Wait for the end of nodes on homes right below a directory that are not written down: their lifeline has ended.

    No signal is sent, and no longer waited than a node takes to end: what is found by a path may be of a network that
    was moved away from it.
    """
    deadline = time.monotonic() + STOP_SECONDS_MAX
    place = directory.resolve()
    for process, home in _nodes_among(_pids()):
        if home.parent == place and find_node(home) != process:
            while is_running(process) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)


def find_listed(home: Path, pid: int) -> Process | None:
    """Return the process of an id from network.json, if it was started by the very path of this home.

    For nodes that an earlier release started: it wrote nothing into their homes.
    """
    if (home / PROCESS_FILE).exists():
        return None
    return next((process for process, path in _nodes_among([pid]) if path == home.resolve()), None)


def stop_node(home: Path) -> bool:
    """Stop the node of this home and wait for its end; say whether there was one."""
    process = find_node(home)
    if process is None:
        return False
    stop_process(process)
    return True


def stop_process(process: Process) -> None:
    """Ask a process to end, and wait for its end; one that does not end is killed."""
    send_signal(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while is_running(process):
        if time.monotonic() > deadline:
            send_signal(process, signal.SIGKILL)
            deadline = time.monotonic() + STOP_SECONDS_MAX
        time.sleep(POLL_SECONDS)


def is_running(process: Process) -> bool:
    """Say whether this very process has not ended."""
    return _start_of(process.pid) == process.started


def send_signal(process: Process, number: signal.Signals) -> None:
    """Send a signal to this very process; none where it has ended, whoever has its id now."""
    try:
        descriptor = _open_process(process.pid)
        try:
            if not is_running(process):
                return
            if descriptor is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            if descriptor is not None:
                os.close(descriptor)
    except ProcessLookupError:
        # It has ended in between.
        return


def _open_process(pid: int) -> int | None:
    """Open a process: it stays the one that it was, though its id passed to another. None where no system offers it."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # Kernels before 5.3, and some containers.
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return None
        raise


def _folder_of(home: Path) -> str:
    """Return what tells a folder from its copies, and stays where it is moved."""
    status = home.stat()
    return f"{status.st_dev}:{status.st_ino}"


def _start_of(pid: int) -> str | None:
    """Return when a process started; None where there is none, or one that has ended and was not waited for."""
    if _BOOT.exists():
        return _start_in_proc(pid)
    # Whole seconds, in the order of the C locale whatever the user's language is.
    shown = _ps("-o", "stat=", "-o", "lstart=", "-p", str(pid)).split(maxsplit=1)
    return None if len(shown) != 2 or shown[0][0] in _ENDED else " ".join(shown[1].split())


def _start_in_proc(pid: int) -> str | None:
    try:
        with open_within(_PROC, f"{pid}/stat") as file:
            told = file.read()
        with open_within(_BOOT.parent, _BOOT.name) as file:
            boot = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is a name in parentheses, with whatever it likes in it. The third is the state, the 22nd the
    # start in ticks since the boot.
    fields = told.rpartition(b")")[2].split()
    if fields[0].decode() in _ENDED:
        return None
    return f"{boot.decode().strip()} {int(fields[19])}"


def _nodes_among(pids: Iterable[int]) -> Iterator[tuple[Process, Path]]:
    """Yield those of these that a command of ours started as nodes, with the path that each one's home had then."""
    for pid in pids:
        home = _home_of(pid)
        if home is None:
            continue
        started = _start_of(pid)
        # Asked again: the id may have passed to another process in between, and the start be that one's.
        if started is not None and _home_of(pid) == home:
            yield Process(pid, started), home


def _pids() -> list[int]:
    if _BOOT.exists():
        return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [int(word) for word in _ps("-ax", "-o", "pid=").split()]


def _home_of(pid: int) -> Path | None:
    """Return the home with which a process was started as a node; None where it is no node, or has ended."""
    if not _BOOT.exists():
        found = _NODE_WORDS.search(_ps("-ww", "-o", "command=", "-p", str(pid)).rstrip("\n"))
        return None if found is None else Path(found["home"])
    try:
        with open_within(_PROC, f"{pid}/cmdline") as file:
            arguments = [os.fsdecode(each) for each in file.read().split(b"\0")]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return Path(arguments[6]) if tuple(arguments[1:6]) == _NODE and len(arguments) > 6 else None


def _ps(*arguments: str) -> str:
    shown = subprocess.run(
        ["ps", *arguments],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
        text=True,
        errors="replace",
        check=False,
    )
    return shown.stdout
