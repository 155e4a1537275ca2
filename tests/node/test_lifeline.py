"""Processes on a lifeline end with whoever holds it, and those that were let go do not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.lifeline import PROCESSES_MAX, VARIABLE, Lifeline, bare_environment
from tests.support.endings import CAN_TELL, end_in_between
from tests.support.sources import ROOT

PATIENCE_S = 60.0
# Says that it watches, then works for ever; told to end, it does so with 7.
WATCHING = """
import signal, sys, time
from node.lifeline import watch_lifeline
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
watch_lifeline()
print("up", flush=True)
time.sleep(600)
"""
DEAF = WATCHING.replace("lambda *_: sys.exit(7)", "signal.SIG_IGN").replace(
    "\nwatch_lifeline()", "\nimport node.lifeline\nnode.lifeline.GRACE_S = 0.2\nwatch_lifeline()"
)


@contextmanager
def hanging(lifeline: Lifeline, script: str = WATCHING) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=lifeline.descriptor,
        stdout=subprocess.PIPE,
        env=lifeline.environment,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


def test_what_hangs_on_a_lifeline_ends_when_it_is_closed_in_its_own_good_order() -> None:
    with Lifeline() as lifeline, hanging(lifeline) as one, hanging(lifeline) as other:
        assert one.poll() is None and other.poll() is None
        lifeline.close()
        assert (one.wait(PATIENCE_S), other.wait(PATIENCE_S)) == (7, 7)
        lifeline.close()


def test_what_does_not_listen_ends_all_the_same() -> None:
    script = DEAF.replace(
        "watch_lifeline()", "import node.lifeline\nnode.lifeline.GRACE_S = 0.2\nwatch_lifeline()", 1
    )
    with Lifeline() as lifeline, hanging(lifeline, script) as process:
        lifeline.close()
        assert process.wait(PATIENCE_S) == 1


def test_as_many_as_are_let_go_outlive_it() -> None:
    with Lifeline() as lifeline, hanging(lifeline) as one, hanging(lifeline) as other:
        lifeline.let_go(2)
        lifeline.close()
        for process in (one, other):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 7


def test_a_pipe_takes_the_bytes_for_all_at_once() -> None:
    assert os.fpathconf(0, "PC_PIPE_BUF") >= PROCESSES_MAX
    with Lifeline() as lifeline:
        lifeline.let_go(0)
        os.set_blocking(lifeline.descriptor, False)
        with pytest.raises(BlockingIOError):
            os.read(lifeline.descriptor, 1)
        lifeline.let_go(PROCESSES_MAX)
        assert os.read(lifeline.descriptor, 2 * PROCESSES_MAX) == bytes(PROCESSES_MAX)
        with pytest.raises(AssertionError):
            lifeline.let_go(PROCESSES_MAX + 1)


def test_without_being_told_of_one_nothing_is_read_from_the_input() -> None:
    script = (
        "import sys\nfrom node.lifeline import watch_lifeline\nwatch_lifeline()\nprint(sys.stdin.read())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        input=b"all",
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"all\n"


def test_no_secret_of_the_environment_goes_to_a_fresh_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUOHU_PASSPHRASE", "correct horse")
    assert set(bare_environment()) <= {"PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}


# A command that hangs on a lifeline starts another that is to outlive it, as the demo's `network up` starts nodes.
INNER = """
import subprocess, sys
from node.lifeline import Lifeline, watch_lifeline
watch_lifeline()
with Lifeline.inherited() as lifeline:
    subprocess.Popen(
        [sys.executable, sys.argv[1]], stdin=lifeline.descriptor, env=lifeline.environment, start_new_session=True
    )
    lifeline.let_go(1)
"""
OUTER = """
import pathlib, subprocess, sys, time
from node.lifeline import Lifeline
with Lifeline() as lifeline:
    command = [sys.executable, *sys.argv[2:]]
    subprocess.run(command, stdin=lifeline.descriptor, env=lifeline.environment, check=True)
    pathlib.Path(sys.argv[1], "begun").touch()
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.skipif(not CAN_TELL, reason="only Linux gives a process what is orphaned below it")
@pytest.mark.parametrize("later_s", [0.0, 0.5])
def test_a_child_of_a_child_ends_with_the_one_that_holds_the_lifeline(tmp_path: Path, later_s: float) -> None:
    scripts = {"outer.py": OUTER, "inner.py": INNER, "watching.py": WATCHING}
    for name, script in scripts.items():
        (tmp_path / name).write_text(script)
    ended = end_in_between(
        [sys.executable, tmp_path / "outer.py", tmp_path, tmp_path / "inner.py", tmp_path / "watching.py"],
        signal.SIGKILL,
        begun=tmp_path,
        pattern="begun",
        later_s=later_s,
        environment={"PYTHONPATH": str(ROOT)},
    )
    assert ended.was_running and ended.survivors == []
