"""What ties a process to the one that it works for: it ends when that one does, however that one ends.

Rule 1: a lifeline is a pipe. Its writing end is held by the process that others work for, and by no other; its reading
end is their standard input. The system closes what a process held when that ends, by SIGKILL too: so whoever reads the
end of the pipe knows that nobody is left to work for.
Rule 2: a process of ours that is started with a lifeline is told so by LUOHU_LIFELINE. It watches from its first moment
on, in a thread of its own. At the end it gets a SIGTERM, as if somebody had asked it to end, and no longer than GRACE_S
to do so.
Rule 3: a byte on the pipe lets one process go: it outlives whoever started it. One write lets several go, all or none.
Rule 4: what is started to outlive a process that hangs on a lifeline hangs on the same one (`inherited`).

Worker processes (node/workers.py), those that check signatures for a node (node/sync/checker.py) and those that remove
folders (node/files/remover.py) each read their own pipe; the rule is the same.
"""

import os
import signal
import sys
import threading
from types import TracebackType
from typing import Final

VARIABLE: Final = "LUOHU_LIFELINE"
GRACE_S: Final = 15.0
PROCESSES_MAX: Final = 256

_INPUT: Final = 0
_ENVIRONMENT_KEPT: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Lifeline:
    """What processes hang on. Close it, or end, and they end too, but for those that were let go."""

    __slots__ = ("_reading", "_writing")

    def __init__(self) -> None:
        """Make a lifeline that this process holds. Raises OSError."""
        # Neither end goes to a child by itself: only what is made its standard input does.
        ends = os.pipe()
        self._reading: int | None = ends[0]
        self._writing: int | None = ends[1]

    @classmethod
    def inherited(cls) -> "Lifeline":
        """Return the lifeline on which this process hangs itself, or a new one where it hangs on none."""
        lifeline = cls()
        if VARIABLE in os.environ:
            lifeline.close()
            lifeline._reading = os.dup(_INPUT)
        return lifeline

    @property
    def descriptor(self) -> int:
        """What is to be the standard input of a process."""
        assert self._reading is not None, "it is not closed"
        return self._reading

    @property
    def environment(self) -> dict[str, str]:
        """The environment to start a process of ours with: this one's, and that there is a lifeline."""
        return {**os.environ, VARIABLE: "standard input"}

    def let_go(self, count: int) -> None:
        """Let as many processes outlive this one; none where another holds the lifeline."""
        assert 0 <= count <= PROCESSES_MAX, "one write, which a pipe takes whole"
        if self._writing is not None and count:
            os.write(self._writing, bytes(count))

    def close(self) -> None:
        """End whoever still hangs on it, where this process holds it. A second call does nothing."""
        for end in (self._reading, self._writing):
            if end is not None:
                os.close(end)
        self._reading = self._writing = None

    def __enter__(self) -> "Lifeline":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def watch_lifeline() -> None:
    """Watch this process's lifeline, where whoever started it said that there is one."""
    if VARIABLE in os.environ:
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    if os.read(_INPUT, 1):
        return
    main = threading.main_thread()
    assert main.ident is not None, "it has started"
    signal.pthread_kill(main.ident, signal.SIGTERM)
    main.join(GRACE_S)
    if main.is_alive():
        os._exit(1)


def bare_environment() -> dict[str, str]:
    """Return what a fresh interpreter needs to find our modules, and nothing else of this process."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path)}
