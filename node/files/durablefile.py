"""Files that survive a power cut: written, synced, renamed, and their directory synced. No other module writes one.

Rule 1: a sync that failed is never repeated. After a failed fsync the kernel may mark the lost pages clean,
so a second fsync succeeds over data that is gone. Callers stop using the file.
Rule 2: a file is replaced whole: a new one beside it, synced, renamed over the old, directory synced. A crash
at any step leaves the old content or the new. A power cut may leave the new one beside the old; the holder of a lock
removes it with the next write.
Rule 3: a private file is a regular file that nobody but its owner may read; anything else is refused.
Rule 4: one process holds a lock. The lock is a file of its own, never replaced or removed: a lock on a file
that gets renamed over would protect an inode that nobody opens any more.
Rule 5: nothing is written through a link, and nothing but a regular file is replaced: a link, a pipe, a device or a
directory that has the name is refused, and stays.
Rule 6: a file that is replaced keeps its mode, its owner, its group and its access list. Where that cannot be, it is
not replaced.
Rule 7: a new file beside another that needs no lock is held by whoever writes it, until it has its name. What a killed
writer left of that name nobody holds, and the next writer of the same file removes it.
"""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from ledger.errors import LuohuError
from node.errors import SetupError
from node.files.reading import (
    BINARY,
    CLOEXEC,
    NOFOLLOW,
    NONBLOCK,
    UnfitFile,
    check_regular,
    open_named,
    open_within,
)
from node.files.system import (
    can_move_open_files,
    give_lock,
    has_owners,
    is_ours,
    read_at,
    sync_file,
    sync_folder,
    take_lock,
    write_at,
)

PRIVATE_MODE: Final = 0o600
SHARED_MODE: Final = 0o644
EXPOSED_BITS: Final = 0o077
PERMISSION_BITS: Final = 0o777

_CREATE: Final[int] = os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW | CLOEXEC | BINARY
_OPEN: Final[int] = os.O_RDWR | NOFOLLOW | NONBLOCK | CLOEXEC | BINARY
_ACCESS_LIST: Final = "system.posix_acl_access"
_WITHOUT_ACCESS_LIST: Final = (errno.ENODATA, errno.ENOTSUP)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use a file: its permission bits, the numbers of its owner and group, and its access list, if any."""

    path: Path
    mode: int
    owner: int
    group: int
    access_list: bytes | None = None


class Lock(Protocol):
    """An exclusive lock that somebody holds."""

    def release(self) -> None:
        """Release the lock; a second release does nothing."""
        ...


class FileOperations(Protocol):
    """A disk. Tests swap it to cut the power at each step, and for one that is all in memory."""

    def exists(self, path: Path) -> bool:
        """Tell whether a name is taken."""

    def is_same(self, path: Path, other: Path) -> bool:
        """Tell whether two names that exist are one file."""

    def find_access(self, path: Path) -> Access | None:
        """Return who may use the regular file at `path`; None where nothing is. Raises UnfitFile for anything else."""

    def give_access(self, descriptor: int, access: Access) -> None:
        """Let exactly those use a file. Raises OSError where that is not ours to give."""

    def lock(self, path: Path) -> Lock:
        """Take the lock at `path` without waiting. Raises FileLocked, or OSError where it cannot be made."""

    def create(self, path: Path, mode: int = PRIVATE_MODE) -> int:
        """Create a file that does not exist, of a mode that the umask narrows, and return its descriptor."""

    def create_held(self, path: Path, mode: int) -> int | None:
        """Create a file and hold it until it is closed, in place of one of ours that nobody holds; else return None."""

    def open(self, path: Path) -> int:
        """Open an existing regular file for reading and writing, and return its descriptor. A link is refused."""

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""

    def size(self, descriptor: int) -> int:
        """Return a file's size in bytes."""

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset`, or raise OSError."""

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`, or raise OSError."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file to `size` bytes."""

    def sync(self, descriptor: int) -> None:
        """Return once the file's data and size are on the disk itself, or raise OSError."""

    def rename(self, source: Path, target: Path) -> None:
        """Give `source` the name `target`, replacing what has it."""

    def link(self, source: Path, target: Path) -> None:
        """Give `source` a second name; raises FileExistsError where it is taken."""

    def remove(self, path: Path) -> None:
        """Remove a name, if it exists."""

    def sync_directory(self, directory: Path) -> None:
        """Return once the names in `directory` are on the disk itself, or raise OSError."""


@dataclass(frozen=True, slots=True)
class PosixFiles:
    """The real disk."""

    def exists(self, path: Path) -> bool:
        try:
            path.lstat()
        except FileNotFoundError:
            return False
        return True

    def is_same(self, path: Path, other: Path) -> bool:
        return path.samefile(other)

    def find_access(self, path: Path) -> Access | None:
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        check_regular(path, status, expected="a regular file, or nothing yet")
        mode = stat.S_IMODE(status.st_mode) & PERMISSION_BITS
        return Access(path, mode, status.st_uid, status.st_gid, _access_list_of(path))

    def give_access(self, descriptor: int, access: Access) -> None:
        if not has_owners():
            return
        status = os.fstat(descriptor)
        if (status.st_uid, status.st_gid) != (access.owner, access.group):
            os.fchown(descriptor, access.owner, access.group)
        if stat.S_IMODE(status.st_mode) != access.mode:
            os.fchmod(descriptor, access.mode)
        _give_access_list(descriptor, access.access_list)

    def lock(self, path: Path) -> "FileLock":
        return FileLock(path)

    def create(self, path: Path, mode: int = PRIVATE_MODE) -> int:
        return os.open(path, _CREATE, mode)

    def create_held(self, path: Path, mode: int) -> int | None:
        if not can_move_open_files():
            return None
        if not _remove_leftover(path):
            return None
        try:
            descriptor = os.open(path, _CREATE, mode)
        except FileExistsError:
            return None
        if _is_held(descriptor, path):
            return descriptor
        os.close(descriptor)
        return None

    def open(self, path: Path) -> int:
        return _open_regular(path, _OPEN)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        return read_at(descriptor, size, offset)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        left = memoryview(data)
        while left:
            written = write_at(descriptor, left, offset)
            if written == 0:
                raise OSError(errno.EIO, "the disk accepted no bytes")
            left = left[written:]
            offset += written

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        sync_file(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        target.hardlink_to(source)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_directory(self, directory: Path) -> None:
        sync_folder(directory)


POSIX_FILES: Final = PosixFiles()


def _remove_leftover(path: Path) -> bool:
    """Remove a file of ours that no writer holds any more; say whether the name is free."""
    try:
        descriptor = _open_regular(path, _OPEN)
    except FileNotFoundError:
        return True
    except OSError:
        # No file, or not for us.
        return False
    try:
        if not is_ours(os.fstat(descriptor)) or not _is_held(descriptor, path):
            return False
        path.unlink()
    finally:
        os.close(descriptor)
    return True


def _is_held(descriptor: int, path: Path) -> bool:
    """Lock an open file, and say whether it is still the one of its name, which nobody takes away from now on."""
    try:
        take_lock(descriptor)
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        # Another holds it, or has taken its name; or the disk has no locks.
        return False


def _open_regular(path: Path, flags: int) -> int:
    with suppress(FileNotFoundError):
        check_regular(path, path.lstat())
    descriptor = os.open(path, flags, PRIVATE_MODE)
    try:
        # It may have been exchanged since it was looked at.
        check_regular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _access_list_of(path: Path) -> bytes | None:
    """Return the access list that Linux keeps of a file beside its mode; None where there is none."""
    if sys.platform != "linux" or not hasattr(os, "getxattr"):
        return None
    try:
        return os.getxattr(path, _ACCESS_LIST, follow_symlinks=False)
    except OSError as error:
        if error.errno in _WITHOUT_ACCESS_LIST:
            return None
        raise


def _give_access_list(descriptor: int, access_list: bytes | None) -> None:
    if sys.platform != "linux":
        return
    if access_list is not None:
        os.setxattr(descriptor, _ACCESS_LIST, access_list)
        return
    try:
        # A folder may give one to every file that is made in it.
        os.removexattr(descriptor, _ACCESS_LIST)
    except OSError as error:
        if error.errno not in _WITHOUT_ACCESS_LIST:
            raise


def replace_file(files: FileOperations, path: Path, content: bytes) -> None:
    """Make `content` the whole content of a file, durably. Raises OSError with the old file in place.

    A new file is private. The caller holds a lock: two writers would share the name of the new file.
    """
    kept = files.find_access(path)
    fresh = path.with_name(path.name + ".new")
    try:
        write_fresh(files, fresh, content, access=kept)
        files.rename(fresh, path)
    except OSError:
        files.remove(fresh)
        raise
    files.sync_directory(path.parent)


def write_file(
    files: FileOperations, path: Path, content: bytes | Iterable[bytes], *, mode: int = SHARED_MODE
) -> None:
    """Make `content`, whole or in pieces, the whole content of a file, durably. It needs no lock.

    A new file has `mode`, which the umask narrows; one that is replaced keeps its own. Raises OSError, and whatever
    the pieces raise, with the old file in place.
    """
    _require_name(path)
    _write_beside(files, path, content, mode, files.find_access(path), give_name=files.rename)


def write_files(
    files: FileOperations, contents: Sequence[tuple[Path, bytes]], *, mode: int = SHARED_MODE
) -> list[OSError | None]:
    """Make each content the whole content of its file, as `write_file` does, and sync each directory once for all.

    Returns what failed of each, in order. A file whose directory was not synced has failed, whatever it holds now.
    """
    failed: list[OSError | None] = []
    for path, content in contents:
        try:
            _require_name(path)
            _put_beside(files, path, content, mode, files.find_access(path), give_name=files.rename)
            failed.append(None)
        except OSError as error:
            failed.append(error)
    unsynced: dict[Path, OSError] = {}
    for directory in {
        path.parent for (path, _), error in zip(contents, failed, strict=True) if error is None
    }:
        try:
            files.sync_directory(directory)
        except OSError as error:
            unsynced[directory] = error
    return [error or unsynced.get(path.parent) for (path, _), error in zip(contents, failed, strict=True)]


def create_file(files: FileOperations, path: Path, content: bytes | Iterable[bytes]) -> None:
    """Make a new private file of `content`, whole or in pieces: all of it or nothing.

    Raises FileExistsError where there is one, OSError, and whatever the pieces raise.
    """
    _require_name(path)

    def give_name(fresh: Path, name: Path) -> None:
        # A link, not a rename: it fails where the name is taken, so two writers cannot overwrite each other.
        files.link(fresh, name)
        files.remove(fresh)

    _write_beside(files, path, content, PRIVATE_MODE, None, give_name=give_name)


def _require_name(path: Path) -> None:
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def _write_beside(
    files: FileOperations,
    path: Path,
    content: bytes | Iterable[bytes],
    mode: int,
    access: Access | None,
    *,
    give_name: Callable[[Path, Path], None],
) -> None:
    _put_beside(files, path, content, mode, access, give_name=give_name)
    files.sync_directory(path.parent)


def _put_beside(
    files: FileOperations,
    path: Path,
    content: bytes | Iterable[bytes],
    mode: int,
    access: Access | None,
    *,
    give_name: Callable[[Path, Path], None],
) -> None:
    """Write a synced file, and give it a name that is not synced yet."""
    first_mode = mode if access is None else PRIVATE_MODE
    fresh = path.with_name(f".{path.name}.new")
    descriptor = files.create_held(fresh, first_mode)
    if descriptor is None:
        # Another writes it just now, or nobody can tell here.
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
        descriptor = files.create(fresh, first_mode)
    finish = _finish_held if can_move_open_files() else _finish_closed
    finish(
        files,
        descriptor,
        fresh,
        lambda: _fill(files, descriptor, content, access),
        lambda: give_name(fresh, path),
    )


def _finish_held(
    files: FileOperations,
    descriptor: int,
    fresh: Path,
    fill: Callable[[], None],
    give_name: Callable[[], None],
) -> None:
    try:
        fill()
        give_name()
    except BaseException:
        files.remove(fresh)
        raise
    finally:
        # Not before it has its name: up to here nobody takes the first one away, and nobody else has it.
        files.close(descriptor)


def _finish_closed(
    files: FileOperations,
    descriptor: int,
    fresh: Path,
    fill: Callable[[], None],
    give_name: Callable[[], None],
) -> None:
    try:
        try:
            fill()
        finally:
            files.close(descriptor)
        give_name()
    except BaseException:
        files.remove(fresh)
        raise


def write_fresh(
    files: FileOperations,
    path: Path,
    content: bytes | Iterable[bytes],
    *,
    mode: int = PRIVATE_MODE,
    access: Access | None = None,
) -> None:
    """Write a synced file at `path`, in place of a leftover of a crash. Its name is not synced yet.

    `access` is that of the file which it is to replace: it comes before `mode`.
    """
    files.remove(path)
    descriptor = files.create(path, mode if access is None else PRIVATE_MODE)
    try:
        _fill(files, descriptor, content, access)
    finally:
        files.close(descriptor)


def _fill(
    files: FileOperations, descriptor: int, content: bytes | Iterable[bytes], access: Access | None
) -> None:
    if access is not None:
        _keep_access(files, descriptor, access)
    size = 0
    for piece in (content,) if isinstance(content, bytes) else content:
        files.write_at(descriptor, piece, size)
        size += len(piece)
    files.sync(descriptor)


def _keep_access(files: FileOperations, descriptor: int, access: Access) -> None:
    try:
        files.give_access(descriptor, access)
    except PermissionError as error:
        raise UnfitFile(
            where=access.path,
            expected="a file that may be replaced with its owner and group kept",
            found=f"one of user {access.owner} and group {access.group}",
            cure="let its owner replace it, or name another file",
        ) from error


def open_private(path: Path) -> int:
    """Open a file of ours for reading and writing, or make it, private. Raises OSError; a link is refused."""
    return _open_regular(path, _OPEN | os.O_CREAT)


def open_own(path: Path) -> int:
    """Open a file of this user's own that nobody else can use, for reading and writing, or make it.

    Raises PrivateFileError where what is there is a link, no regular file, another user's, open to others, or has a
    second name; OSError where it can be neither opened nor made.
    """
    with suppress(FileExistsError):
        # What was made just now is our own, also on a disk that knows neither owners nor modes.
        return POSIX_FILES.create(path)
    try:
        descriptor = POSIX_FILES.open(path)
    except UnfitFile as error:
        raise _not_own(path, error.found) from error
    try:
        _check_own(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_own(path: Path, status: os.stat_result) -> None:
    if not is_ours(status):
        raise _not_own(path, f"a file of user {status.st_uid}")
    mode = stat.S_IMODE(status.st_mode)
    if (has_owners() and mode & EXPOSED_BITS) or status.st_nlink != 1:
        raise _not_own(path, f"mode {mode:04o}, {status.st_nlink} names")


def _not_own(path: Path, found: str) -> "PrivateFileError":
    expected = "a file of your own that nobody else can use (mode 0600), or nothing yet"
    cure = "do not rely on it: remove it, or name another"
    return PrivateFileError(where=path, expected=expected, found=found, cure=cure)


def read_own(path: Path, *, size_max: int) -> bytes:
    """Return the content of a file of this user's own that nobody else can use. Raises PrivateFileError, OSError."""
    content = read_private(path, size_max=size_max)
    _check_own(path, path.lstat())
    return content


def open_appending(path: Path) -> int:
    """Open a log of ours to write at its end, or make it, private. Raises OSError; a link is refused."""
    return _open_regular(
        path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NOFOLLOW | NONBLOCK | CLOEXEC | BINARY
    )


class PrivateFileError(SetupError):
    """A file that should be private is not, or cannot be read as one."""


def read_private(path: Path, *, size_max: int) -> bytes:
    """Return the content of a private regular file of at most `size_max` bytes. Raises PrivateFileError.

    A link is refused: what it leads to can be exchanged by whoever may write where the link lies.
    """
    return _read_private(path, lambda: open_within(path.parent, path.name), size_max)


def read_private_named(path: Path, *, size_max: int) -> bytes:
    """Return the content of a private file that the user named, such as a passphrase's; a link is followed.

    Raises PrivateFileError.
    """
    return _read_private(path, lambda: open_named(path), size_max)


def _read_private(path: Path, open_it: Callable[[], BinaryIO], size_max: int) -> bytes:
    try:
        with open_it() as file:
            _check_private(path, os.fstat(file.fileno()))
            content = file.read(size_max + 1)
    except UnfitFile as error:
        raise PrivateFileError(
            where=path, expected=error.expected, found=error.found, cure=error.cure
        ) from error
    except OSError as error:
        found = error.strerror or "an error"
        raise PrivateFileError(
            where=path, expected="a readable file", found=found, cure="check the path and its owner"
        ) from error
    if len(content) > size_max:
        raise PrivateFileError(
            where=path, expected=f"at most {size_max} bytes", found="more", cure="name the right file"
        )
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if has_owners() and mode & EXPOSED_BITS:
        raise PrivateFileError(
            where=path,
            expected="a file that only its owner can use (mode 0600)",
            found=f"mode {mode:04o}",
            cure=f"chmod 600 {path}",
        )


class FileLocked(LuohuError, OSError):
    """Another process holds the lock."""


class FileLock:
    """An exclusive lock, held until `release` or the end of the process."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path) -> None:
        """Take the lock at `path` without waiting. Raises FileLocked, or OSError where it cannot be made."""
        descriptor = open_private(path)
        try:
            take_lock(descriptor)
        except BlockingIOError as error:
            os.close(descriptor)
            raise FileLocked(
                where=f"{path}", expected="to be the only user", found="another process using it"
            ) from error
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor: int | None = descriptor

    @property
    def is_held(self) -> bool:
        """Whether the lock has not been released."""
        return self._descriptor is not None

    def release(self) -> None:
        """Release the lock; a second release does nothing."""
        if self._descriptor is not None:
            give_lock(self._descriptor)
            self._descriptor = None
