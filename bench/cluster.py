"""Four durable validator processes on loopback, as an operator would start them, for the time of a benchmark.

Rule 1: keys, TLS, disks and vote logs are those of any node. A delay in the connections, where one is asked for,
is the only difference.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.node import SYNCED_FILE
from bench.stored_chain import VALIDATORS, fresh_network
from cli.processes import LOG_FILE
from node.client.client import Client
from node.errors import Unreachable
from node.files.folders import passing_folder
from node.home.consortium import Network
from node.lifeline import Lifeline

READY_S: Final = 60.0
STOP_S: Final = 20.0
LOG_SHOWN_MAX: Final = 500
# Nodes of a benchmark end with it, however it ends.
LIFELINE: Final = Lifeline()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running network: its files, and each validator's process and URL, in the order of VALIDATORS."""

    network: Network
    urls: tuple[str, ...]
    processes: "tuple[subprocess.Popen[bytes], ...]"

    def home(self, index: int) -> Path:
        """Return a validator's home directory."""
        return self.network.homes[VALIDATORS[index]].path


@contextmanager
def running_cluster(
    *, delay_ms: float = 0.0, prepare: Callable[[Network], None] = lambda _network: None
) -> Iterator[Cluster]:
    """Start a network, wait until every node serves, and stop and remove it at the end.

    `prepare` may fill the homes before a node starts. What was written by then is on the disk first: the nodes' own
    synced writes would wait behind it.
    """
    with passing_folder(None, prefix="luohu-bench-") as directory:
        network = fresh_network(Path(directory) / "network")
        prepare(network)
        os.sync()
        homes = [network.homes[member] for member in VALIDATORS]
        urls = tuple(f"http://{home.require_node().api}" for home in homes)
        processes = tuple(start(home.path, delay_ms) for home in homes)
        try:
            for url, process, home in zip(urls, processes, homes, strict=True):
                asyncio.run(wait_until_ready(url, process, home.path))
            yield Cluster(network, urls, processes)
        finally:
            stop(processes)


def start(home: Path, delay_ms: float) -> "subprocess.Popen[bytes]":
    """Start one node's process, its log in its home."""
    command = [sys.executable, "-m", "bench.node", "--home", str(home), "--delay-ms", str(delay_ms)]
    descriptor = os.open(home / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            command,
            stdin=LIFELINE.descriptor,
            stdout=descriptor,
            stderr=descriptor,
            env=LIFELINE.environment,
        )
    finally:
        os.close(descriptor)


def stop(processes: "tuple[subprocess.Popen[bytes], ...]") -> None:
    """End processes, and wait for their end."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class NodeEnded(Exception):
    """A node ended while a benchmark needed it. The message holds the end of its log."""


def check_running(process: "subprocess.Popen[bytes]", home: Path) -> None:
    """Check that a home's node is there. Raises NodeEnded."""
    if process.poll() is not None:
        log = (home / LOG_FILE).read_text(errors="replace")
        raise NodeEnded(f"{home.name} ended with {process.returncode}: {log[-LOG_SHOWN_MAX:]}")


async def wait_until_ready(url: str, process: "subprocess.Popen[bytes]", home: Path) -> None:
    """Wait until a node serves. Raises TimeoutError or NodeEnded."""
    async with asyncio.timeout(READY_S), Client.connect(url) as client:
        while True:
            check_running(process, home)
            try:
                await client.require_ready()
                return
            except Unreachable:
                await asyncio.sleep(0.1)


def cpu_seconds(process: "subprocess.Popen[bytes]") -> float:
    """Return the processor time that a process has used, in seconds; of Linux only."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Return the resident memory of a process, and how much of it is of files; of Linux only.

    LevelDB maps its tables, so what was read of them counts as resident until somebody else wants the memory.
    """
    _, resident, of_files, *_ = Path(f"/proc/{process.pid}/statm").read_text().split()
    page_size = os.sysconf("SC_PAGE_SIZE")
    return int(resident) * page_size, int(of_files) * page_size


def synced_writes(cluster: Cluster) -> dict[str, int]:
    """Return how many synced writes the first node has made, to its database and to its vote log."""
    path = cluster.home(0) / SYNCED_FILE
    path.unlink(missing_ok=True)
    cluster.processes[0].send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + STOP_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the node did not count its synced writes")
        time.sleep(0.01)
    counts: dict[str, int] = json.loads(path.read_text())
    return counts
