"""Commands that are ended in the midst of their work, and what is left of them: no process may be.

A process of its own starts the command. The system gives it every process that loses its parent below it (Linux), so
that none can hide: not by a session or an environment of its own, nor behind a process that has ended.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.sources import ROOT

PATIENCE_S = 90.0
POLL_S = 0.005
BECOME_THE_PARENT = 36
CAN_TELL = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, what of it was still running long after, and whether the signal came before its end."""

    code: int
    survivors: list[str]
    was_running: bool


def end_in_between(
    command: Sequence[str | Path],
    number: signal.Signals,
    *,
    begun: Path,
    pattern: str,
    later_s: float,
    of_group: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Start a command, send a signal some time after a file of this pattern appears below `begun`, and wait for all.

    `of_group` sends it to every process of the command's group, as a terminal does.
    """
    asked = [[*map(str, command)], int(number), str(begun), pattern, later_s, of_group]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.endings", json.dumps(asked)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=3 * PATIENCE_S,
        text=True,
        check=True,
    )
    return Ended(**json.loads(done.stdout))


def _main() -> None:
    command, number, begun, pattern, later_s, of_group = json.loads(sys.argv[1])
    if ctypes.CDLL(None, use_errno=True).prctl(BECOME_THE_PARENT, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
    deadline = time.monotonic() + PATIENCE_S
    while started.poll() is None and not any(Path(begun).glob(pattern)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    time.sleep(later_s)
    was_running = started.poll() is None
    if was_running:
        (os.killpg if of_group else os.kill)(started.pid, number)
    code = started.wait(PATIENCE_S)
    left = {"code": code, "survivors": _survivors(), "was_running": was_running}
    print(json.dumps(left), flush=True)


def _survivors() -> list[str]:
    """Wait for all that came to this process, and return what is still there after some patience; it is killed."""
    deadline = time.monotonic() + float(os.environ.get("LUOHU_TEST_PATIENCE_S", PATIENCE_S))
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid == 0:
            time.sleep(POLL_S)
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    told = [Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode() for each in found]
    for each in found:
        os.kill(int(each), signal.SIGKILL)
    return told


if __name__ == "__main__":
    _main()
