"""Stands in for the module of that name: locks of bytes, each held by the open file through which it was taken.

It knows one byte, which our code locks; that of another file stays free.
"""

import errno
import os

LK_UNLCK, LK_LOCK, LK_NBLCK, LK_RLCK, LK_NBRLCK = range(5)
POSITION_MAX = 2**31 - 1


def _flock(_descriptor: int, _operation: int) -> None:
    """The lock of this machine; put here before it is taken away (sitecustomize)."""
    raise NotImplementedError


def locking(descriptor: int, mode: int, count: int, /) -> None:
    """Lock or unlock bytes from where the file stands, as the C library of Windows does. Raises OSError."""
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    if not 0 <= place <= POSITION_MAX - count:
        raise OSError(errno.EINVAL, "a position that the C library cannot take")
    exclusive, at_once, free = 2, 4, 8
    try:
        _flock(descriptor, free if mode == LK_UNLCK else exclusive | at_once)
    except BlockingIOError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error
