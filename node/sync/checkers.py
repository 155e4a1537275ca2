"""The processes that check signatures while the node catches up: one for each core but the node's own.

Rule 1: they are fresh interpreters that are given public data through pipes. No key, socket or open file of the node
goes along, nor its environment.
Rule 2: they start with the first question, and end when none came for IDLE_S, or when the node stops.
Rule 3: what waits is bounded: QUESTIONS_MAX questions. Past that nothing is taken, and the node checks itself.
Rule 4: where one ends, fails to start or does not answer, that is logged, all are ended, what they were asked is
settled without an answer, and from then on the node checks itself.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.encoding.keys import PublicKey
from ledger.encoding.records import pack
from node.lifeline import bare_environment
from node.sync.checker import SIZE_BYTES, Question, SenderKey

logger = logging.getLogger(__name__)

PROCESSES_MAX: Final = 4
QUESTIONS_MAX: Final = 512
IDLE_S: Final = 30.0
PIPE_SIZE: Final = 1024 * 1024
COMMAND: Final = (sys.executable, "-m", "node.sync.checker")


@dataclass(slots=True, eq=False)
class _Asked:
    """A question, until it is settled."""

    question: bytes
    count: int
    is_settled: bool = False
    verdicts: bytes | None = None

    def settle(self, verdicts: bytes | None) -> None:
        self.is_settled, self.verdicts, self.question = True, verdicts, b""


class Checkers:
    """Checks signatures in processes of their own. Implements `node.sync.prevalidation.Checker`."""

    def __init__(
        self,
        on_answer: Callable[[], None],
        *,
        command: Sequence[str] = COMMAND,
        processes_max: int = min(PROCESSES_MAX, max(1, (os.cpu_count() or 1) - 1)),
        idle_s: float = IDLE_S,
    ) -> None:
        """Start nothing yet. `on_answer` is called from the loop whenever something is settled."""
        self._on_answer = on_answer
        self._command = command
        self._processes_max = processes_max
        self._idle_s = idle_s
        self._waiting: asyncio.Queue[_Asked] = asyncio.Queue(QUESTIONS_MAX)
        self._serving: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._is_over = False

    @property
    def processes_count(self) -> int:
        """How many processes there are."""
        return len(self._serving)

    def submit(self, transactions: Sequence[bytes], keys: dict[str, PublicKey]) -> _Asked | None:
        """Have encoded transactions checked under their senders' keys; None where there is no room for it."""
        if self._is_over or self._waiting.full():
            return None
        question = pack(
            Question(
                tuple(SenderKey(member, key) for member, key in sorted(keys.items())), tuple(transactions)
            )
        )
        asked = _Asked(question, len(transactions))
        self._waiting.put_nowait(asked)
        if len(self._serving) < self._processes_max:
            self._begin()
        return asked

    def _begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._serve())
        self._serving.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not self._waiting.empty() and not self._is_over:
            # Asked while an idle process was being ended.
            self._begin()

    def give_up(self) -> None:
        """Take note that an answer did not come in time: nothing more is asked."""
        self._end("no answer in time")

    async def close(self) -> None:
        """End the processes."""
        self._is_over = True
        self._cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.gather(*self._ending)

    def _end(self, reason: str) -> None:
        if self._is_over:
            return
        logger.error("checkers.ended reason=%s: signatures are checked in turn", reason)
        self._is_over = True
        self._cancel()
        while not self._waiting.empty():
            self._waiting.get_nowait().settle(None)
        asyncio.get_running_loop().call_soon(self._on_answer)

    def _cancel(self) -> None:
        for task in self._serving:
            if not task.cancelling() and task is not asyncio.current_task():
                task.cancel()

    async def _serve(self) -> None:
        """Run one process until it is idle or fails."""
        under_way: list[_Asked] = []
        process: asyncio.subprocess.Process | None = None
        try:
            process = await self._start()
            await self._converse(process, under_way)
        except (OSError, EOFError) as error:
            self._end(f"{type(error).__name__}: {error}")
        finally:
            for asked in under_way:
                asked.settle(None)
            if process is not None:
                await asyncio.shield(self._end_process(process))

    def _end_process(self, process: asyncio.subprocess.Process) -> "asyncio.Task[None]":
        """Kill a process, in a task that outlives the one that served it: `close` may come in between."""
        ending = asyncio.get_running_loop().create_task(_kill(process))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=bare_environment(),
        )

    async def _converse(self, process: asyncio.subprocess.Process, under_way: list[_Asked]) -> None:
        """Ask and read answers. The next question is on its way before the answer to the last is read."""
        assert process.stdin is not None and process.stdout is not None, "pipes were asked for"
        _widen(process.stdin)
        while True:
            asked = await self._next(may_wait=not under_way)
            if asked is not None:
                under_way.append(asked)
                process.stdin.write(len(asked.question).to_bytes(SIZE_BYTES) + asked.question)
                await process.stdin.drain()
            if not under_way:
                return
            if asked is None or len(under_way) > 1:
                oldest = under_way[0]
                verdicts = await process.stdout.readexactly(oldest.count)
                under_way.pop(0).settle(verdicts)
                self._on_answer()

    async def _next(self, *, may_wait: bool) -> _Asked | None:
        if not may_wait:
            return None if self._waiting.empty() else self._waiting.get_nowait()
        try:
            async with asyncio.timeout(self._idle_s):
                return await self._waiting.get()
        except TimeoutError:
            return None


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    # Read to its end: a pipe that still held an answer would stay open, and so would what knows the process.
    await process.communicate()


def _widen(writer: asyncio.StreamWriter) -> None:
    """Let a pipe hold some blocks, where the system can: the node writes only between two blocks that it executes."""
    pipe = writer.get_extra_info("pipe")
    if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
