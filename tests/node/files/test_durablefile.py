"""Durable files: at every step of a crash the old content or the new, whole, under the mode that was asked for."""

import errno
import fcntl
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.exits import CommandError
from cli.files import write_file as write_command_file
from ledger.errors import LuohuError
from node.files.durablefile import (
    POSIX_FILES,
    PRIVATE_MODE,
    SHARED_MODE,
    FileOperations,
    PosixFiles,
    create_file,
    open_appending,
    open_private,
    replace_file,
    write_file,
    write_files,
)
from node.files.reading import UnfitFile
from tests.support.crashing_disk import CrashingDisk, Loss, PowerCut
from tests.support.sources import ROOT

OLD = b"old" * 1_000
NEW = b"new" * 2_000
PIECES = (NEW[:10], NEW[10:4_096], b"", NEW[4_096:])

Write = Callable[[CrashingDisk, Path], None]


def write_beside_others(disk: FileOperations, path: Path, *others: str) -> None:
    """Write a file after others of its folder, in one go."""
    contents = [*((path.with_name(name), OLD) for name in others), (path, NEW)]
    for error in write_files(disk, contents):
        if error is not None:
            raise error


WRITERS: dict[str, Write] = {
    "with a lock": lambda disk, path: replace_file(disk, path, NEW),
    "without a lock": lambda disk, path: write_file(disk, path, NEW),
    "in pieces": lambda disk, path: write_file(disk, path, iter(PIECES)),
    "with others": lambda disk, path: write_beside_others(disk, path, "before", "between"),
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


def test_of_several_files_each_is_synced_before_its_name_and_each_folder_once_after_all(
    path: Path, evidence: Path
) -> None:
    disk = CrashingDisk(evidence)
    (path.parent / "folder").mkdir()
    paths = [path, path.with_name("second"), path.parent / "folder" / "third"]
    assert write_files(disk, [(each, NEW) for each in paths]) == [None] * 3
    kept = [step for step in disk.log if step != "remove"]
    assert kept == ["create", "write_at", "sync", "rename"] * 3 + ["sync_directory"] * 2
    assert all(each.read_bytes() == NEW for each in paths)
    assert write_files(disk, []) == []


def test_of_several_files_one_that_cannot_be_written_leaves_the_others(path: Path, evidence: Path) -> None:
    taken = path.with_name("taken")
    taken.mkdir()
    first, second, third = write_files(
        CrashingDisk(evidence), [(path, NEW), (taken, NEW), (path.with_name("third"), NEW)]
    )
    assert first is None and isinstance(second, UnfitFile) and third is None
    assert path.read_bytes() == path.with_name("third").read_bytes() == NEW
    assert sorted(each.name for each in path.parent.iterdir()) == ["taken", "third", "trust.json"]


def test_files_of_a_folder_that_could_not_be_synced_count_as_failed(path: Path, evidence: Path) -> None:
    disk = CrashingDisk(evidence)
    disk.failing["sync_directory"] = OSError(5, "Input/output error")
    found = write_files(disk, [(path, NEW), (path.with_name("second"), NEW)])
    assert [error and error.errno for error in found] == [5, 5]


@pytest.mark.parametrize("mode", [PRIVATE_MODE, SHARED_MODE])
def test_a_new_file_has_the_mode_that_was_asked_for(mode: int, path: Path) -> None:
    before = os.umask(0)
    try:
        write_file(POSIX_FILES, path, NEW, mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


REPLACING: dict[str, Callable[[Path], None]] = {
    "with a lock": lambda path: replace_file(POSIX_FILES, path, NEW),
    "without a lock": lambda path: write_file(POSIX_FILES, path, NEW),
    "privately": lambda path: write_file(POSIX_FILES, path, NEW, mode=PRIVATE_MODE),
    "in pieces": lambda path: write_file(POSIX_FILES, path, iter(PIECES)),
    "with others": lambda path: write_beside_others(POSIX_FILES, path),
    "by a command": lambda path: write_command_file(path, NEW),
}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o400])
@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize("writer", REPLACING)
def test_a_file_that_is_replaced_keeps_its_mode_whatever_was_asked_for(
    writer: str, umask: int, mode: int, path: Path
) -> None:
    path.write_bytes(OLD)
    path.chmod(mode)
    before = os.umask(umask)
    try:
        REPLACING[writer](path)
    finally:
        os.umask(before)
    assert path.read_bytes() == NEW and stat.S_IMODE(path.stat().st_mode) == mode


def other_group() -> int:
    """Return a group that a file may be given, and that a new file does not have."""
    return 12 if os.geteuid() == 0 else next((each for each in os.getgroups() if each != os.getegid()), -1)


@pytest.mark.parametrize("writer", REPLACING)
def test_a_file_that_is_replaced_keeps_its_owner_and_group(writer: str, path: Path) -> None:
    path.write_bytes(OLD)
    path.chmod(0o640)
    # Only root may give a file away; anybody may give one to a group of theirs.
    os.chown(path, 11 if os.geteuid() == 0 else -1, other_group())
    before = path.stat()
    REPLACING[writer](path)
    after = path.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert path.read_bytes() == NEW and after.st_ino != before.st_ino


@pytest.mark.parametrize("writer", REPLACING)
def test_a_file_whose_owner_cannot_be_kept_is_not_replaced(
    writer: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _owner: int, _group: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path.write_bytes(OLD)
    status = os.fstat

    def foreign(descriptor: int) -> os.stat_result:
        """A new file is ours, and the old one is not."""
        found = list(status(descriptor))
        found[stat.ST_UID] += 1
        return os.stat_result(found)

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "fstat", foreign)
    with pytest.raises(LuohuError, match="with its owner and group kept, found one of user") as refused:
        REPLACING[writer](path)
    assert refused.value.where == f"{path}" and "let its owner replace it" in f"{refused.value.cure}"
    monkeypatch.undo()
    assert path.read_bytes() == OLD and [*path.parent.iterdir()] == [path]


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """Return an access list as Linux keeps it: version 2, and each entry's tag, permissions and number."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 2**32 - 1
# The owner reads and writes, user 4711 reads, the group nothing, and the mask lets pass what user 4711 has.
LISTED = access_list(
    (0x01, 6, NOBODY), (0x02, 4, 4711), (0x04, 0, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)
)
ACCESS_LIST = "system.posix_acl_access"


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> dict[int, bytes]:
    """Access lists by the number of the file, as a file system would keep them that may not be there where we test."""
    kept: dict[int, bytes] = {}

    def find(path: Path, name: str, *, follow_symlinks: bool = True) -> bytes:
        assert name == ACCESS_LIST and not follow_symlinks
        number = path.lstat().st_ino
        if number not in kept:
            raise OSError(errno.ENODATA, "No data available")
        return kept[number]

    def give(descriptor: int, name: str, value: bytes) -> None:
        assert name == ACCESS_LIST
        kept[os.fstat(descriptor).st_ino] = value

    def take(descriptor: int, name: str) -> None:
        assert name == ACCESS_LIST
        if kept.pop(os.fstat(descriptor).st_ino, None) is None:
            raise OSError(errno.ENODATA, "No data available")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "getxattr", find, raising=False)
    monkeypatch.setattr(os, "setxattr", give, raising=False)
    monkeypatch.setattr(os, "removexattr", take, raising=False)
    return kept


@pytest.mark.parametrize("writer", REPLACING)
def test_a_file_that_is_replaced_keeps_its_access_list(
    writer: str, path: Path, lists: dict[int, bytes]
) -> None:
    path.write_bytes(OLD)
    lists[path.stat().st_ino] = LISTED
    REPLACING[writer](path)
    assert path.read_bytes() == NEW and lists[path.stat().st_ino] == LISTED


def test_a_file_without_an_access_list_does_not_get_that_of_its_folder(
    path: Path, lists: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(OLD)
    create = PosixFiles.create

    def inheriting(self: PosixFiles, fresh: Path, mode: int = PRIVATE_MODE) -> int:
        descriptor = create(self, fresh, mode)
        lists[os.fstat(descriptor).st_ino] = LISTED
        return descriptor

    monkeypatch.setattr(PosixFiles, "create", inheriting)
    write_file(POSIX_FILES, path, NEW)
    assert path.read_bytes() == NEW and path.stat().st_ino not in lists


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


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("link", "a link"),
        ("dangling link", "a link"),
        ("link to a pipe", "a link"),
        ("directory", "a directory"),
        ("pipe", "a named pipe"),
        ("device", "a link"),
    ],
)
@pytest.mark.parametrize("writer", REPLACING)
def test_nothing_but_a_regular_file_is_replaced(writer: str, kind: str, found: str, path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(OLD)
    os.mkfifo(path.with_name("a pipe"))
    makes: dict[str, Callable[[], None]] = {
        "link": lambda: path.symlink_to(other),
        "dangling link": lambda: path.symlink_to("nowhere"),
        "link to a pipe": lambda: path.symlink_to("a pipe"),
        "directory": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/null"),
    }
    makes[kind]()
    before = path.lstat()
    with pytest.raises(LuohuError, match=f"expected a regular file, or nothing yet, found {found}; name"):
        REPLACING[writer](path)
    assert os.path.samestat(before, path.lstat()) and other.read_bytes() == OLD
    assert len([*path.parent.iterdir()]) == 3


def test_a_link_that_takes_the_name_meanwhile_is_not_written_through(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(OLD)

    def pieces() -> Iterator[bytes]:
        yield NEW
        path.symlink_to(other)

    write_file(POSIX_FILES, path, pieces())
    assert not path.is_symlink() and path.read_bytes() == NEW and other.read_bytes() == OLD


OPENING: dict[str, Callable[[Path], int]] = {
    "to change it": POSIX_FILES.open,
    "privately": open_private,
    "to add to it": open_appending,
}


@pytest.mark.parametrize("opening", OPENING)
def test_a_file_of_ours_is_a_regular_file_and_no_link(opening: str, path: Path) -> None:
    path.write_bytes(OLD)
    POSIX_FILES.close(OPENING[opening](path))
    path.with_name("link").symlink_to(path)
    path.with_name("dangling").symlink_to("nowhere")
    os.mkfifo(path.with_name("pipe"))
    for name in ("link", "dangling", "pipe", "."):
        with pytest.raises(UnfitFile):
            OPENING[opening](path.parent / name)
    assert path.read_bytes() == OLD and not path.with_name("nowhere").exists()


@pytest.mark.parametrize("opening", [open_private, open_appending])
def test_a_file_of_ours_is_made_private(opening: Callable[[Path], int], path: Path) -> None:
    POSIX_FILES.close(opening(path))
    assert stat.S_IMODE(path.stat().st_mode) & 0o177 == 0


def test_a_log_is_written_at_its_end(path: Path) -> None:
    for line in (b"first\n", b"second\n"):
        descriptor = open_appending(path)
        os.write(descriptor, line)
        os.close(descriptor)
    assert path.read_bytes() == b"first\nsecond\n"


def test_a_lock_is_a_regular_file(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(UnfitFile, match="found a named pipe"):
        POSIX_FILES.lock(path)


@pytest.mark.parametrize("name", ["node.files.reading", "node.files.durablefile", "cli.files"])
def test_it_is_imported_where_the_system_has_nothing_of_posix(name: str) -> None:
    """As Windows has it: no fcntl, no flags of POSIX, no way to open relative to a folder."""
    source = (
        "import os, sys\n"
        "sys.modules['fcntl'] = None\n"
        "gone = ['O_NOFOLLOW', 'O_NONBLOCK', 'O_CLOEXEC', 'O_NOCTTY', 'O_DIRECTORY', 'O_PATH', 'pread', 'pwrite']\n"
        "for each in gone + ['fdatasync', 'fchown', 'fchmod', 'getxattr', 'setxattr', 'removexattr', 'mkfifo']:\n"
        "    if hasattr(os, each): delattr(os, each)\n"
        "os.supports_dir_fd = set()\n"
        f"import {name}\n"
        "from pathlib import Path\n"
        "from node.files.reading import open_named, open_within\n"
        f"path = Path({__file__!r})\n"
        "with open_named(path) as one, open_within(path.parent, path.name) as other:\n"
        "    print(one.read() == other.read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


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


# -- leftovers --------------------------------------------------------------------------------------

WRITING = """
import sys, time
from pathlib import Path
from node.files.durablefile import POSIX_FILES, create_file, write_file
path, kind = Path(sys.argv[1]), sys.argv[2]

def pieces():
    yield b"half"
    Path(sys.argv[1] + ".begun").touch()
    time.sleep(600)

(write_file if kind == "write" else create_file)(POSIX_FILES, path, pieces())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["write", "create"])
def test_what_a_killed_writer_left_the_next_one_removes(path: Path, kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITING, str(path), kind], cwd=ROOT) as writer:
        begun = path.with_name(path.name + ".begun")
        while not begun.exists():
            assert writer.poll() is None
        begun.unlink()
        left = {*path.parent.iterdir()} - {path}
        # Its writer lives: another writes beside it, and takes nothing away.
        write_file(POSIX_FILES, path, NEW)
        assert {*path.parent.iterdir()} == {*left, path} and len(left) == 1
        writer.kill()
    write_file(POSIX_FILES, path, OLD)
    assert [*path.parent.iterdir()] == [path] and path.read_bytes() == OLD


@pytest.mark.parametrize("kind", ["link", "directory", "pipe", "second name"])
def test_what_is_no_leftover_of_ours_keeps_its_name(path: Path, kind: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    other = path.with_name("other")
    other.write_bytes(b"other")
    match kind:
        case "link":
            fresh.symlink_to(other)
        case "directory":
            fresh.mkdir()
        case "pipe":
            os.mkfifo(fresh)
        case _:
            fresh.hardlink_to(other)
    write_file(POSIX_FILES, path, NEW)
    assert path.read_bytes() == NEW and other.read_bytes() == b"other"
    # Under a second name nothing is lost where one of the two goes.
    assert os.path.lexists(fresh) is (kind != "second name")


def test_many_writers_of_one_file_leave_one_of_their_contents_and_nothing_else(path: Path) -> None:
    contents = [bytes([number]) * 20_000 for number in range(8)]

    def write_often(content: bytes) -> None:
        for _ in range(20):
            write_file(POSIX_FILES, path, content)

    with ThreadPoolExecutor(len(contents)) as threads:
        for done in [threads.submit(write_often, content) for content in contents]:
            done.result()
    assert path.read_bytes() in contents and [*path.parent.iterdir()] == [path]
