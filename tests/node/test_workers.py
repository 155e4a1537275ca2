"""Workers answer, and end with the block or the process that they work for, whatever they do."""

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, synchronize
from pathlib import Path

import pytest

from node.workers import WorkerFailed, Workers
from tests.support.endings import CAN_TELL, end_in_between
from tests.support.sources import ROOT

PATIENCE_S = 60.0
_prepared: list[str] = []


def prepare(text: str) -> None:
    _prepared.append(text)


def tell(text: str) -> tuple[int, str]:
    return os.getpid(), "".join([*_prepared, text])


def fail(text: str) -> str:
    raise ValueError(text)


def end(_given: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work_for_ever(path: Path) -> None:
    path.touch()
    while True:
        time.sleep(1)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.01)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_worker_is_prepared_once_and_answers_in_order_of_what_it_was_asked() -> None:
    with Workers(2, prepare=partial(prepare, "p")) as workers:
        asked = [workers.submit(tell, f"{number}") for number in range(20)]
        answers = [each.result() for each in asked]
    assert [text for _, text in answers] == [f"p{number}" for number in range(20)]
    pids = {pid for pid, _ in answers}
    assert 1 <= len(pids) <= 2 and os.getpid() not in pids and not any(map(is_there, pids))
    assert _prepared == []


def test_what_a_worker_meets_is_raised_where_it_was_asked_and_it_works_on() -> None:
    with Workers(1) as workers:
        first = workers.submit(tell, "a").result()
        with pytest.raises(WorkerFailed, match=r"(?s)in fail.*ValueError: of ours"):
            workers.submit(fail, "of ours").result()
        assert workers.submit(tell, "b").result() == (first[0], "b")


def test_a_worker_that_was_killed_is_told_and_none_takes_its_place() -> None:
    with Workers(1) as workers:
        workers.submit(tell, "a").result()
        for _ in range(2):
            with pytest.raises(BrokenProcessPool):
                workers.submit(end, None).result()


def test_workers_that_are_busy_end_with_the_block(tmp_path: Path) -> None:
    begun = [tmp_path / "a", tmp_path / "b"]
    with Workers(2) as workers:
        asked = [workers.submit(work_for_ever, path) for path in begun]
        wait_for(lambda: all(path.exists() for path in begun))
        waiting = workers.submit(work_for_ever, tmp_path / "c")
    for each in asked:
        with pytest.raises(BrokenProcessPool):
            each.result()
    # It was not begun, or for a worker that had ended.
    assert waiting.cancelled() or isinstance(waiting.exception(), BrokenProcessPool)
    assert not (tmp_path / "c").exists()


def test_no_semaphore_is_made_which_would_keep_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise AssertionError("a semaphore")

    monkeypatch.setattr(synchronize.SemLock, "__init__", refuse)
    with pytest.raises(AssertionError, match="a semaphore"):
        get_context("spawn").Lock()
    with Workers(2) as workers:
        assert workers.submit(tell, "a").result()[1] == "a"


def test_no_worker_starts_where_none_is_asked() -> None:
    with Workers(4) as workers:
        assert workers._started == []


BUSY = """
import sys
from pathlib import Path
from node.workers import Workers
from tests.node.test_workers import work_for_ever
if __name__ == "__main__":
    place = Path(sys.argv[1])
    with Workers(3) as workers:
        asked = [workers.submit(work_for_ever, place / f"busy{number}") for number in range(3)]
        [each.result() for each in asked]
"""


@pytest.mark.slow
@pytest.mark.skipif(not CAN_TELL, reason="only Linux gives a process what is orphaned below it")
@pytest.mark.parametrize("of_group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("begun", ["script.py", "busy0", "busy2"])
def test_workers_end_with_the_process_that_they_work_for(
    tmp_path: Path, number: signal.Signals, of_group: bool, begun: str
) -> None:
    # Before they start, while they do, and in the midst of work that has no end.
    script = tmp_path / "script.py"
    script.write_text(BUSY)
    ended = end_in_between(
        [sys.executable, script, tmp_path],
        number,
        begun=tmp_path,
        pattern=begun,
        later_s=0.25 if begun == "script.py" else 0.0,
        of_group=of_group,
        environment={"PYTHONPATH": str(ROOT)},
    )
    assert ended.was_running and ended.survivors == []
    assert ended.code in (-number, 1)


def test_what_is_left_running_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not CAN_TELL:
        return
    script = (
        "import pathlib, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"pathlib.Path({str(tmp_path)!r}, 'begun').touch()\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setenv("LUOHU_TEST_PATIENCE_S", "0.5")
    ended = end_in_between(
        [sys.executable, "-c", script], signal.SIGKILL, begun=tmp_path, pattern="begun", later_s=0
    )
    assert ended.code == -signal.SIGKILL and len(ended.survivors) == 1
    assert "time.sleep(600)" in ended.survivors[0]


def test_workers_are_no_fork(tmp_path: Path) -> None:
    """A fork would inherit what this process opened, and the lock on it."""
    with (tmp_path / "secret").open("wb") as file, Workers(1) as workers:
        os.set_inheritable(file.fileno(), True)
        pid, _ = workers.submit(tell, "").result()
        if CAN_TELL:
            open_files = {each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir()}
            assert tmp_path / "secret" not in open_files
