"""Node processes that outlive the command which started them, and the file that lists them.

Rule 1: a process id from a file is acted upon only where that process's command line names the node's home:
ids are used again by others.
Rule 2: a stopped node gets time to end by itself; only one that does not is killed, which loses nothing that
it promised.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cli.exits import own_configuration
from cli.files import read_file
from ledger.encoding.records import Identifier, Items, MemberId, Uint, from_json, parse_json

NETWORK_FILE: Final = "network.json"
LOG_FILE: Final = "node.log"
NETWORK_FILE_SIZE_MAX: Final = 64 * 1024
NODES_MAX: Final = 256
STOP_SECONDS_MAX: Final = 15.0
POLL_SECONDS: Final = 0.05

Url = Annotated[str, Identifier("url", 300, r"https?://[A-Za-z0-9.:\[\]-]+")]


@dataclass(frozen=True, slots=True)
class ListedNode:
    """A node of a running network: its member, the URL of its API, and its process id."""

    member: MemberId
    url: Url
    pid: Annotated[int, Uint(2**31 - 1, minimum=1)]


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """The content of network.json."""

    nodes: Annotated[tuple[ListedNode, ...], Items(NODES_MAX)]


def read_network_file(directory: Path) -> NetworkFile:
    """Return what network.json lists. Raises CommandError with exit code 2."""
    text = read_file(directory / NETWORK_FILE, size_max=NETWORK_FILE_SIZE_MAX)
    with own_configuration("Remove network.json and run `luohu network up` again."):
        return from_json(NetworkFile, parse_json(text, size_max=NETWORK_FILE_SIZE_MAX))


def start_node(home: Path, *, passphrase_file: Path | None) -> "subprocess.Popen[bytes]":
    """Start a node's process on a home, detached, its output appended to the home's log."""
    command = [sys.executable, "-m", "cli.main", "node", "start", "--home", str(home.resolve())]
    if passphrase_file is not None:
        command += ["--passphrase-file", str(passphrase_file.resolve())]
    descriptor = os.open(home / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, start_new_session=True
        )
    finally:
        os.close(descriptor)


def is_node_of(pid: int, home: Path) -> bool:
    """Say whether a process is a node on this home, by its command line."""
    command = _command_line(pid)
    return "cli.main node start" in command and str(home.resolve()) in command


def find_nodes(directory: Path) -> list[int]:
    """Return the process ids of all nodes on homes below a directory, listed in a file or not."""
    if Path("/proc/self/cmdline").exists():
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    else:
        shown = subprocess.run(["ps", "-ax", "-o", "pid="], capture_output=True, text=True, check=False)
        pids = [int(word) for word in shown.stdout.split()]
    return [pid for pid in pids if is_node_of(pid, directory)]


def stop_node(pid: int, home: Path) -> bool:
    """Stop the node on this home and wait for its end; say whether there was one under this id."""
    if not is_node_of(pid, home):
        return False
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while is_node_of(pid, home):
        if time.monotonic() > deadline:
            _signal(pid, signal.SIGKILL)
            deadline = time.monotonic() + STOP_SECONDS_MAX
        time.sleep(POLL_SECONDS)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _command_line(pid: int) -> str:
    """Return a process's command line with single spaces; empty where there is none or it has ended."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()
