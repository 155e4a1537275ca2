"""Processes that work for this one: how they are started, asked and ended.

Rule 1: each is a fresh interpreter, no fork: no lock, key or open file of this process goes along.
Rule 2: a worker ends with the process that it works for, however that one ends and whatever the worker does: a thread
of its own waits for that end from the first moment on (node/lifeline.py).
Rule 3: they leave nothing behind. What is asked and answered goes through one pipe for each worker. There is no file,
no shared memory, and no semaphore, which would keep its name where all of them are killed at once.
Rule 4: the terminal's interrupt reaches every process of its group. Workers leave it to this one, which ends them.
Rule 5: at the end workers are killed: they hold nothing, and nobody waits for what they still work on.
"""

import os
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Protocol, TypeVar, cast

T = TypeVar("T")
G = TypeVar("G")


class WorkerFailed(Exception):
    """A worker met a fault of ours. The message is its traceback."""


class _Pipe(Protocol):
    def send(self, value: object, /) -> None: ...

    def recv(self) -> object: ...

    def close(self) -> None: ...


def prepare_nothing() -> None:
    """Prepare nothing: a worker knows all it needs from what it is asked."""


class Workers:
    """`count` processes, each started with its first work. Use it in a `with` statement.

    What is asked must be a function of a module, and what it is given and returns plain data: it is copied.
    """

    def __init__(self, count: int, *, prepare: Callable[[], None] = prepare_nothing) -> None:
        """Start nothing yet. Each worker calls `prepare` before its first work."""
        self._prepare = prepare
        # A thread for each worker waits for its answers.
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._started: list[tuple[BaseProcess, _Pipe]] = []
        self._is_over = False

    def submit(self, work: Callable[[G], T], given: G, /) -> "Future[T]":
        """Have something worked out. The result raises BrokenProcessPool where the worker was killed."""
        return self._threads.submit(self._ask, work, given)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_over = True
            for process, _ in self._started:
                process.kill()
        # Whatever waits for a worker learns now that it has ended.
        self._threads.shutdown(cancel_futures=True)
        for process, pipe in self._started:
            process.join()
            process.close()
            pipe.close()

    def _ask(self, work: Callable[[G], T], given: G) -> T:
        pipe: _Pipe | None = getattr(self._own, "pipe", None)
        if pipe is None:
            pipe = self._own.pipe = self._start()
        try:
            pipe.send((work, given))
            answer, fault = cast("tuple[T, str | None]", pipe.recv())
        except (EOFError, OSError) as error:
            raise BrokenProcessPool("a worker has ended") from error
        if fault is not None:
            raise WorkerFailed(fault)
        return answer

    def _start(self) -> _Pipe:
        context = get_context("spawn")
        with self._lock:
            if self._is_over:
                raise BrokenProcessPool("no work is taken any more")
            own, other = context.Pipe()
            process = context.Process(target=_work, args=(other, self._prepare), daemon=True)
            try:
                process.start()
            finally:
                # Held by the worker alone, so that its end is seen here.
                other.close()
            self._started.append((process, own))
            return own


def _work(pipe: _Pipe, prepare: Callable[[], None]) -> None:
    threading.Thread(target=_end_with_parent, name="lifeline", daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        work, given = cast("tuple[Callable[[object], object], object]", asked)
        pipe.send(_answer(work, given))


def _answer(work: Callable[[object], object], given: object) -> tuple[object, str | None]:
    try:
        return work(given), None
    except Exception:  # noqa: BLE001  Whatever it is, it is raised where it was asked.
        return None, traceback.format_exc()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker was started by one"
    parent.join()
    os._exit(1)
