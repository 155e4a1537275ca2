"""Node processes under chaos: started, killed, paused, filled up and looked at; ended by their ids alone.

Rule 1: a node runs as an operator runs it, `luohu node start`, except while its clock is to be stepped.
Rule 2: whatever ends unasked is noticed, with what its log says since its last start.
"""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from cli.processes import LOG_FILE, start_node
from ledger.encoding.records import Json, parse_json
from node.lifeline import Lifeline
from tests.campaigns.chaos.founding import Consortium
from tests.campaigns.chaos.steppedclock import CLOCK_FILE, set_clock

READY_S = 60.0
POLL_S = 0.05
ASK_S = 2.0
STOP_S = 20.0
LOG_SHOWN_MAX = 4_000


class Stuck(Exception):
    """A node, or the network, did not get where it must within its time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a node stands."""

    height: int
    is_voting: bool
    peers_count: int
    waiting_count: int


class Nodes:
    """The processes of a consortium's nodes."""

    def __init__(self, consortium: Consortium) -> None:
        self._consortium = consortium
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Held until this process ends: so do they then.
        self._lifeline = Lifeline()
        self._marks: dict[str, int] = {}
        self._paused: set[str] = set()
        self.rss_max_kib = 0

    def home(self, member: str) -> Path:
        """Return a member's home."""
        return self._consortium.homes[member].path

    def running(self) -> list[str]:
        """Return whose process is there and not paused."""
        return [
            member
            for member, process in self._processes.items()
            if process.poll() is None and member not in self._paused
        ]

    def pid(self, member: str) -> int:
        """Return the id of a member's process."""
        return self._processes[member].pid

    # -- starting and ending ----------------------------------------------------------------------------

    def start(self, member: str) -> None:
        """Start a node as an operator does."""
        self._mark(member)
        self._processes[member] = start_node(self.home(member), passphrase_file=None, lifeline=self._lifeline)

    def start_with_clock(self, member: str, offset_ms: int) -> None:
        """Start a node whose wall clock is off, and can be stepped."""
        self._mark(member)
        home = self.home(member)
        set_clock(home, offset_ms)
        with (home / LOG_FILE).open("ab") as log:
            self._processes[member] = subprocess.Popen(
                [sys.executable, "-m", "tests.campaigns.chaos.steppedclock", str(home)],
                stdin=self._lifeline.descriptor,
                stdout=log,
                stderr=log,
                env=self._lifeline.environment,
                start_new_session=True,
            )
        assert (home / CLOCK_FILE).exists(), "the clock is there before the node is"

    def kill(self, member: str) -> None:
        """End a node at once, whatever it does."""
        process = self._processes.pop(member)
        self._paused.discard(member)
        self.note_memory(process.pid)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()

    async def stop(self, member: str) -> None:
        """Ask a node to end, and wait for it."""
        process = self._processes.pop(member)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while process.poll() is None:
            if time.monotonic() > deadline:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                raise Stuck(f"{member} did not end within {STOP_S:.0f} s of SIGTERM")
            await asyncio.sleep(POLL_S)

    def kill_all(self) -> None:
        """End every node that still runs."""
        for member in list(self._processes):
            self.kill(member)

    def pause(self, member: str) -> None:
        """Stop a process in its tracks."""
        self._paused.add(member)
        os.kill(self.pid(member), signal.SIGSTOP)

    def resume(self, member: str) -> None:
        """Let a paused process go on."""
        self._paused.discard(member)
        os.kill(self.pid(member), signal.SIGCONT)

    def limit_files(self, member: str, size: int | None) -> None:
        """Refuse a process every byte of a file past this size, as a full disk does; None lifts the limit."""
        soft = resource.RLIM_INFINITY if size is None else size
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.pid(member), resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    # -- looking ----------------------------------------------------------------------------------------

    def has_ended(self, member: str) -> bool:
        """Say whether a node's process ended by itself."""
        process = self._processes.get(member)
        return process is not None and process.poll() is not None

    def ended(self) -> list[str]:
        """Return whose process ended by itself."""
        return [member for member in self._processes if self.has_ended(member)]

    def forget(self, member: str) -> None:
        """Take note that a process that ended by itself was seen to."""
        self._processes.pop(member).wait()

    def log_since_start(self, member: str) -> str:
        """Return what a node has logged since it was last started."""
        path = self.home(member) / LOG_FILE
        if not path.exists():
            return ""
        with path.open("rb") as log:
            log.seek(self._marks.get(member, 0))
            return log.read().decode(errors="replace")

    async def look(self, member: str) -> Seen | None:
        """Return where a node stands; None where it does not answer."""
        try:
            async with (
                asyncio.timeout(ASK_S),
                aiohttp.ClientSession() as session,
                session.get(f"{self._consortium.url(member)}/v1/status") as response,
            ):
                answer: Json = parse_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        assert isinstance(answer, dict), "a status is an object"
        height, peers = answer["height"], answer["peers_connected"]
        waiting = answer["mempool_count"]
        assert isinstance(height, int) and isinstance(peers, list), "a status has a height and peers"
        assert isinstance(waiting, int), "and how many transactions wait"
        return Seen(height, answer["is_voting"] is True, len(peers), waiting)

    async def highest(self) -> int:
        """Return the highest final height that any running node answers."""
        seen = await asyncio.gather(*(self.look(member) for member in self.running()))
        return max((each.height for each in seen if each is not None), default=0)

    async def wait_for(
        self, member: str, height: int, *, voting: bool = False, peers_count: int = 0
    ) -> float:
        """Return the seconds until a node has this height (votes, and has peers). Raises Stuck where it stands still.

        A node that lost its disk has a chain to execute: it may take long, but must get on.
        """
        began = moved = time.monotonic()
        seen: Seen | None = None
        reached = -1
        while time.monotonic() - moved < READY_S:
            if self.has_ended(member):
                raise Stuck(f"{member} ended by itself: {self.log_since_start(member)[-LOG_SHOWN_MAX:]}")
            seen = await self.look(member)
            if (
                seen is not None
                and seen.height >= height
                and (seen.is_voting or not voting)
                and seen.peers_count >= peers_count
            ):
                return time.monotonic() - began
            if seen is not None and reached < min(seen.height, height):
                reached, moved = seen.height, time.monotonic()
            await asyncio.sleep(POLL_S)
        raise Stuck(f"{member} does not get to height {height}, standing still for {READY_S:.0f} s: {seen}")

    async def wait_until_answering_count(self, count: int) -> None:
        """Return once that many nodes answer. Raises Stuck."""
        began = time.monotonic()
        while time.monotonic() - began < READY_S:
            seen = await asyncio.gather(*(self.look(member) for member in self.running()))
            if sum(each is not None for each in seen) >= count:
                return
            await asyncio.sleep(POLL_S)
        raise Stuck(f"not {count} nodes answer within {READY_S:.0f} s; {self.ended()} ended")

    async def wait_until_answering(self, member: str) -> bool:
        """Return true once a node answers, false once its process has ended by itself. Raises Stuck."""
        began = time.monotonic()
        while time.monotonic() - began < READY_S:
            if self.has_ended(member):
                return False
            if await self.look(member) is not None:
                return True
            await asyncio.sleep(POLL_S)
        raise Stuck(f"{member} neither answers nor ends within {READY_S:.0f} s")

    def note_memory(self, pid: int) -> None:
        """Take note of the most memory that a process has held."""
        with contextlib.suppress(OSError, StopIteration, ValueError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            line = next(line for line in lines if line.startswith("VmHWM:"))
            self.rss_max_kib = max(self.rss_max_kib, int(line.split()[1]))

    def _mark(self, member: str) -> None:
        path = self.home(member) / LOG_FILE
        self._marks[member] = path.stat().st_size if path.exists() else 0
