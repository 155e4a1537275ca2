"""Files that survive a power cut: written, synced, renamed, and their directory synced. No other module does this.

Rule 1: a sync that failed is never repeated. After a failed fsync the kernel may mark the lost pages clean,
so a second fsync succeeds over data that is gone. Callers stop using the file.
Rule 2: a file is replaced whole: a new one beside it, synced, renamed over the old, directory synced. A crash
at any step leaves the old content or the new. A power cut may leave the new one beside the old; the holder of a lock
removes it with the next write.
Rule 3: a private file is a regular file that nobody but its owner may read; anything else is refused.
Rule 4: one process holds a lock. The lock is a file of its own, never replaced or removed: a lock on a file
that gets renamed over would protect an inode that nobody opens any more.
"""

import errno
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ledger.errors import LuohuError
from node.errors import SetupError

PRIVATE_MODE: Final = 0o600
SHARED_MODE: Final = 0o644
EXPOSED_BITS: Final = 0o077


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

    def lock(self, path: Path) -> Lock:
        """Take the lock at `path` without waiting. Raises FileLocked, or OSError where it cannot be made."""

    def create(self, path: Path, mode: int = PRIVATE_MODE) -> int:
        """Create a file that does not exist, of a mode that the umask narrows, and return its descriptor."""

    def open(self, path: Path) -> int:
        """Open an existing file for reading and writing and return its descriptor."""

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

    def lock(self, path: Path) -> "FileLock":
        return FileLock(path)

    def create(self, path: Path, mode: int = PRIVATE_MODE) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, mode)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        return os.pread(descriptor, size, offset)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(descriptor, left, offset)
            if written == 0:
                raise OSError(errno.EIO, "the disk accepted no bytes")
            left = left[written:]
            offset += written

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        # macOS: fsync leaves the data in the drive's cache, only F_FULLFSYNC empties it.
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        target.hardlink_to(source)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


POSIX_FILES: Final = PosixFiles()


def replace_file(files: FileOperations, path: Path, content: bytes) -> None:
    """Make `content` the whole content of a private file, durably; raises OSError with the old file in place.

    The caller holds a lock: two writers would share the name of the new file.
    """
    fresh = path.with_name(path.name + ".new")
    write_fresh(files, fresh, content)
    files.rename(fresh, path)
    files.sync_directory(path.parent)


def write_file(
    files: FileOperations, path: Path, content: bytes | Iterable[bytes], *, mode: int = SHARED_MODE
) -> None:
    """Make `content`, whole or in pieces, the whole content of a file, durably. It needs no lock.

    Raises OSError, and whatever the pieces raise, with the old file in place.
    """
    _write_beside(files, path, content, mode, give_name=files.rename)


def create_file(files: FileOperations, path: Path, content: bytes | Iterable[bytes]) -> None:
    """Make a new private file of `content`, whole or in pieces: all of it or nothing.

    Raises FileExistsError where there is one, OSError, and whatever the pieces raise.
    """
    # A link, not a rename: it fails where the name is taken, so two writers cannot overwrite each other.
    _write_beside(files, path, content, PRIVATE_MODE, give_name=files.link)


def _write_beside(
    files: FileOperations,
    path: Path,
    content: bytes | Iterable[bytes],
    mode: int,
    *,
    give_name: Callable[[Path, Path], None],
) -> None:
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        write_fresh(files, fresh, content, mode=mode)
        give_name(fresh, path)
    finally:
        files.remove(fresh)
    files.sync_directory(path.parent)


def write_fresh(
    files: FileOperations, path: Path, content: bytes | Iterable[bytes], *, mode: int = PRIVATE_MODE
) -> None:
    """Write a synced file at `path`, in place of a leftover of a crash. Its name is not synced yet."""
    files.remove(path)
    descriptor = files.create(path, mode)
    try:
        size = 0
        for piece in (content,) if isinstance(content, bytes) else content:
            files.write_at(descriptor, piece, size)
            size += len(piece)
        files.sync(descriptor)
    finally:
        files.close(descriptor)


class PrivateFileError(SetupError):
    """A file that should be private is not, or cannot be read as one."""


def read_private(path: Path, *, size_max: int) -> bytes:
    """Return the content of a private regular file of at most `size_max` bytes. Raises PrivateFileError."""
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would otherwise wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        found = error.strerror or "an error"
        raise PrivateFileError(
            where=path, expected="a readable file", found=found, cure="check the path and its owner"
        ) from error
    try:
        _check_private(path, os.fstat(descriptor))
        content = _read_up_to(descriptor, size_max + 1)
    except OSError as error:
        found = error.strerror or "an error"
        raise PrivateFileError(
            where=path, expected="a readable file", found=found, cure="check the disk"
        ) from error
    finally:
        os.close(descriptor)
    if len(content) > size_max:
        raise PrivateFileError(
            where=path, expected=f"at most {size_max} bytes", found="more", cure="name the right file"
        )
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PrivateFileError(
            where=path,
            expected="a regular file",
            found=stat.filemode(status.st_mode),
            cure="name a regular file",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & EXPOSED_BITS:
        raise PrivateFileError(
            where=path,
            expected="a file that only its owner can use (mode 0600)",
            found=f"mode {mode:04o}",
            cure=f"chmod 600 {path}",
        )


def _read_up_to(descriptor: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = os.read(descriptor, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class FileLocked(LuohuError, OSError):
    """Another process holds the lock."""


class FileLock:
    """An exclusive lock, held until `release` or the end of the process."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path) -> None:
        """Take the lock at `path` without waiting. Raises FileLocked, or OSError where it cannot be made."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
            os.close(self._descriptor)
            self._descriptor = None
