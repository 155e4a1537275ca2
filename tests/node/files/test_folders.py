"""Folders that pass: gone at the end, at an error, after a kill; and leftovers that the next one removes."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node.files import folders
from node.files.folders import FolderTaken, fresh_folder, passing_folder
from node.files.system import take_lock
from tests.support.endings import CAN_TELL, end_in_between
from tests.support.sources import ROOT

PREFIX = "luohu-test-"
TOKEN = "0123456789abcdef"
FILLING = """
import sys, time
from pathlib import Path
from node.files.folders import fresh_folder, passing_folder
place, kind = Path(sys.argv[1]), sys.argv[2]
made = passing_folder(place, prefix="luohu-test-") if kind == "passing" else fresh_folder(
    place, prefix="luohu-test-", suffix="")
with made as folder:
    (folder / "inner").mkdir()
    (folder / "inner" / "file").write_bytes(b"content")
    time.sleep(600)
"""


def fill(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "file").write_bytes(b"content")


def test_a_folder_is_ours_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with passing_folder(tmp_path, prefix=PREFIX) as folder:
        fill(folder)
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(KeyboardInterrupt), passing_folder(tmp_path, prefix=PREFIX) as folder:
        fill(folder)
        raise KeyboardInterrupt
    assert [*tmp_path.iterdir()] == []


def test_a_folder_goes_though_the_process_that_removes_it_was_ended_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    with passing_folder(tmp_path, prefix=PREFIX) as folder:
        fill(folder)
    assert [*tmp_path.iterdir()] == []


def test_where_the_system_keeps_such_folders_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "passing_parent", lambda: tmp_path)
    with passing_folder(None, prefix=PREFIX) as folder:
        assert folder.parent == tmp_path


def test_a_folder_that_was_renamed_stays(tmp_path: Path) -> None:
    with passing_folder(tmp_path, prefix=PREFIX) as folder:
        fill(folder)
        folder.rename(tmp_path / "kept")
    with fresh_folder(tmp_path, prefix=PREFIX, suffix=".new") as folder:
        fill(folder)
        folder.rename(tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "made"]
    assert (tmp_path / "kept" / "inner" / "file").read_bytes() == b"content"


def test_a_fresh_folder_is_removed_at_an_error_alone(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), fresh_folder(tmp_path, prefix=PREFIX, suffix=".new") as folder:
        fill(folder)
        raise KeyboardInterrupt
    assert [*tmp_path.iterdir()] == []


def test_a_folder_of_another_that_has_the_name_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / f"{PREFIX}{TOKEN}"
    taken.mkdir()
    (taken / "file").touch()
    monkeypatch.setattr(folders, "_remove_leftovers", lambda *_arguments, **_more: None)
    monkeypatch.setattr(secrets, "token_hex", lambda _size: TOKEN)
    with pytest.raises(FolderTaken), passing_folder(tmp_path, prefix=PREFIX):
        raise AssertionError("it is another's")
    with pytest.raises(FolderTaken), fresh_folder(tmp_path, prefix=PREFIX, suffix=""):
        raise AssertionError("it is another's")
    assert (taken / "file").exists()


# -- leftovers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["passing", "fresh"])
def test_what_nobody_holds_is_removed_by_the_next_one(tmp_path: Path, kind: str) -> None:
    suffix = "" if kind == "passing" else ".new"
    left = tmp_path / f"{PREFIX}{TOKEN}{suffix}"
    left.mkdir()
    fill(left)
    with (
        passing_folder(tmp_path, prefix=PREFIX)
        if kind == "passing"
        else fresh_folder(tmp_path, prefix=PREFIX, suffix=suffix)
    ):
        assert not left.exists()


def test_what_somebody_holds_or_has_another_name_or_is_no_folder_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = tmp_path / "place"
    place.mkdir()
    others = [f"{PREFIX}{TOKEN}.new", f"{PREFIX}{TOKEN[:-1]}", f"{PREFIX}{TOKEN}0", f"other-{TOKEN}"]
    others.append(f"{PREFIX}{TOKEN.upper()}")
    for name in others:
        (place / name).mkdir()
    (place / f"{PREFIX}{TOKEN[::-1]}").write_bytes(b"a file")
    (place / f"{PREFIX}{TOKEN[1:]}0").symlink_to(elsewhere)
    (elsewhere / "file").touch()
    held = place / f"{PREFIX}{TOKEN}"
    held.mkdir()
    descriptor = os.open(held, os.O_RDONLY)
    take_lock(descriptor)
    before = {*place.iterdir()}
    with passing_folder(place, prefix=PREFIX) as first, passing_folder(place, prefix=PREFIX) as second:
        assert {*place.iterdir()} == {*before, first, second}
    assert {*place.iterdir()} == before and (elsewhere / "file").exists()
    os.close(descriptor)
    with passing_folder(place, prefix=PREFIX):
        assert not held.exists()


def test_another_user_s_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / f"{PREFIX}{TOKEN}"
    left.mkdir()
    monkeypatch.setattr(folders, "is_ours", lambda _status: False)
    with passing_folder(tmp_path, prefix=PREFIX):
        assert left.exists()


def test_one_that_is_taken_for_a_leftover_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, removed = folders._hold, list[Path]()

    def hold_late(path: Path) -> int | None:
        if not removed:
            # Another process looks for leftovers just now.
            removed.append(path)
            path.rmdir()
        return hold(path)

    monkeypatch.setattr(folders, "_hold", hold_late)
    with passing_folder(tmp_path, prefix=PREFIX) as folder:
        fill(folder)
        assert removed == [folder]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.skipif(not CAN_TELL, reason="only Linux gives a process what is orphaned below it")
@pytest.mark.parametrize("of_group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_passing_folder_goes_with_the_process_that_made_it(
    tmp_path: Path, number: signal.Signals, of_group: bool
) -> None:
    for later_s in (0.0, 0.05):
        ended = end_in_between(
            [sys.executable, "-c", FILLING, tmp_path, "passing"],
            number,
            begun=tmp_path,
            pattern=f"{PREFIX}*",
            later_s=later_s,
            of_group=of_group,
            environment={"PYTHONPATH": str(ROOT)},
        )
        assert ended.was_running and ended.survivors == []
        assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.skipif(not CAN_TELL, reason="only Linux gives a process what is orphaned below it")
def test_a_fresh_folder_whose_maker_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    ended = end_in_between(
        [sys.executable, "-c", FILLING, tmp_path, "fresh"],
        signal.SIGKILL,
        begun=tmp_path,
        pattern=f"{PREFIX}*/inner",
        later_s=0,
        environment={"PYTHONPATH": str(ROOT)},
    )
    assert ended.was_running and ended.survivors == []
    (left,) = tmp_path.iterdir()
    with fresh_folder(tmp_path, prefix=PREFIX, suffix=""):
        assert not left.exists()


def test_the_process_that_removes_keeps_nothing_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, object]] = []
    popen = subprocess.Popen

    def watched(*arguments: object, **named: object) -> object:
        started.append(named)
        return popen(*arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", watched)
    monkeypatch.setenv("LUOHU_PASSPHRASE", "correct horse")
    with passing_folder(tmp_path, prefix=PREFIX):
        pass
    (named,) = started
    environment = named["env"]
    assert isinstance(environment, dict) and "LUOHU_PASSPHRASE" not in environment
    assert named["start_new_session"] is True
