"""What files need of the system where systems differ: POSIX has it all, Windows some of it in another form.

Rule 1: what a system can do is asked when it is needed, of what `os` and the standard library have there.
Rule 2: what it cannot do is not pretended: docs/windows.md says what that leaves open.
"""

import errno
import os
import sys
from typing import Final

# Far behind the content of any file of ours: Windows keeps others from reading what is locked. Its C library takes
# positions of 31 bits.
LOCKED_BYTE: Final = 2**31 - 2


def has_owners() -> bool:
    """Say whether files have an owner and permission bits that mean something. Windows has access lists alone."""
    return hasattr(os, "geteuid")


def can_move_open_files() -> bool:
    """Say whether a file that is open can get another name, and one that has that name give way."""
    return has_owners()


def take_lock(descriptor: int) -> None:
    """Lock an open file for this process until it closes it. Raises BlockingIOError where another has it."""
    try:
        import fcntl
    except ModuleNotFoundError:
        _lock_byte(descriptor)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def give_lock(descriptor: int) -> None:
    """Close a file that is locked. Where the system takes its time with that, it is unlocked first."""
    try:
        import fcntl as _  # noqa: F401
    except ModuleNotFoundError:
        _unlock_byte(descriptor)
    os.close(descriptor)


def _lock_byte(descriptor: int) -> None:
    import msvcrt

    try:
        _at_locked_byte(descriptor, msvcrt.LK_NBLCK)  # type: ignore[attr-defined]
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EDEADLK):
            raise BlockingIOError(errno.EAGAIN, "another process holds the lock") from error
        raise


def _unlock_byte(descriptor: int) -> None:
    import msvcrt

    _at_locked_byte(descriptor, msvcrt.LK_UNLCK)  # type: ignore[attr-defined]


def _at_locked_byte(descriptor: int, mode: int) -> None:
    import msvcrt

    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, mode, 1)  # type: ignore[attr-defined]
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Return up to `size` bytes at `offset`. On Windows nobody else may use the descriptor meanwhile."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


def write_at(descriptor: int, data: memoryview, offset: int) -> int:
    """Write some of `data` at `offset`, and return how much. On Windows as for `read_at`."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.write(descriptor, data)


def sync_file(descriptor: int) -> None:
    """Return once a file's data and size are on the disk itself, or raise OSError."""
    # macOS: fsync leaves the data in the drive's cache, only F_FULLFSYNC empties it.
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Return once the names in a folder are on the disk itself. Windows offers no such thing, and nothing is done."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_ours(status: os.stat_result) -> bool:
    """Say whether a file belongs to this user, as far as the system tells."""
    return not has_owners() or status.st_uid == os.geteuid()
