"""Durable files: at every step of a crash the old content or the new, whole, under the mode that was asked for."""

import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.exits import CommandError
from cli.files import write_file as write_command_file
from node.files.durablefile import (
    POSIX_FILES,
    PRIVATE_MODE,
    SHARED_MODE,
    PosixFiles,
    create_file,
    replace_file,
    write_file,
)
from tests.support.crashing_disk import CrashingDisk, Loss, PowerCut

OLD = b"old" * 1_000
NEW = b"new" * 2_000
PIECES = (NEW[:10], NEW[10:4_096], b"", NEW[4_096:])

Write = Callable[[CrashingDisk, Path], None]

WRITERS: dict[str, Write] = {
    "with a lock": lambda disk, path: replace_file(disk, path, NEW),
    "without a lock": lambda disk, path: write_file(disk, path, NEW),
    "in pieces": lambda disk, path: write_file(disk, path, iter(PIECES)),
}


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    folder.mkdir()
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files" / "trust.json"


def steps_of(write: Write, path: Path, evidence: Path) -> int:
    disk = CrashingDisk(evidence)
    write(disk, path)
    return disk.steps_count


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_crash_at_any_step_leaves_the_old_content_or_the_new(
    writer: str, loss: Loss, path: Path, evidence: Path
) -> None:
    write = WRITERS[writer]
    path.write_bytes(OLD)
    steps = steps_of(write, path, evidence)
    found = []
    for crash_at in range(1, steps + 1):
        path.write_bytes(OLD)
        with pytest.raises(PowerCut):
            write(CrashingDisk(evidence, crash_at=crash_at, loss=loss), path)
        found.append(path.read_bytes())
    assert set(found) <= {OLD, NEW} and found[0] == OLD
    path.write_bytes(OLD)
    write(CrashingDisk(evidence), path)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("loss", Loss)
def test_a_crash_at_any_step_leaves_a_new_file_whole_or_none(loss: Loss, path: Path, evidence: Path) -> None:
    steps = steps_of(lambda disk, path: create_file(disk, path, NEW), path, evidence)
    found = set()
    for crash_at in range(1, steps + 1):
        path.unlink(missing_ok=True)
        with pytest.raises(PowerCut):
            create_file(CrashingDisk(evidence, crash_at=crash_at, loss=loss), path, NEW)
        found.add(path.read_bytes() if path.exists() else None)
    assert found <= {None, NEW} and None in found


@pytest.mark.parametrize("step", ["create", "write_at", "sync", "rename"])
def test_a_disk_that_fails_keeps_the_old_content_and_nothing_beside_it(
    step: str, path: Path, evidence: Path
) -> None:
    path.write_bytes(OLD)
    disk = CrashingDisk(evidence)
    disk.failing[step] = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space"):
        write_file(disk, path, NEW)
    assert path.read_bytes() == OLD and list(path.parent.iterdir()) == [path]


def test_pieces_that_end_in_an_error_keep_the_old_content(path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield NEW
        raise ValueError("the journal is torn")

    path.write_bytes(OLD)
    with pytest.raises(ValueError, match="torn"):
        write_file(POSIX_FILES, path, pieces())
    assert path.read_bytes() == OLD and list(path.parent.iterdir()) == [path]


def test_everything_is_synced_before_the_name_and_the_name_after(path: Path, evidence: Path) -> None:
    disk = CrashingDisk(evidence)
    write_file(disk, path, NEW)
    kept = [step for step in disk.log if step != "remove"]
    assert kept == ["create", "write_at", "sync", "rename", "sync_directory"]


@pytest.mark.parametrize("mode", [PRIVATE_MODE, SHARED_MODE])
def test_a_file_has_the_mode_that_was_asked_for_whatever_it_had(mode: int, path: Path) -> None:
    path.write_bytes(OLD)
    path.chmod(0o640)
    before = os.umask(0)
    try:
        write_file(POSIX_FILES, path, NEW, mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_umask_narrows_a_shared_file(path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_file(POSIX_FILES, path, NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_has_a_name_is_not_created_again(path: Path) -> None:
    path.write_bytes(OLD)
    with pytest.raises(FileExistsError):
        create_file(POSIX_FILES, path, NEW)
    assert path.read_bytes() == OLD and list(path.parent.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_leads_to_stays(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(OLD)
    path.symlink_to(other)
    write_file(POSIX_FILES, path, NEW)
    assert not path.is_symlink() and path.read_bytes() == NEW and other.read_bytes() == OLD


def test_a_command_syncs_as_a_node_does(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = PosixFiles.sync

    def watched(self: PosixFiles, descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        sync(self, descriptor)

    monkeypatch.setattr(PosixFiles, "sync", watched)
    write_command_file(path, NEW)
    assert synced == [len(NEW)] and path.read_bytes() == NEW


def test_on_macos_a_sync_empties_the_cache_of_the_drive(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda _descriptor, command: asked.append(command))
    write_file(POSIX_FILES, path, NEW)
    assert asked == [51]


@pytest.mark.parametrize("where", ["/", "missing/trust.json"])
def test_a_command_that_cannot_write_says_where(where: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refused:
        write_command_file(tmp_path / where, NEW)
    assert refused.value.where == str(tmp_path / where)
