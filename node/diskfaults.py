"""What a system says when it refuses a file, and what to do about it. None of it is damage of what the file holds.

Rule 1: a fault is told by its number. Of a library that gives words alone, they are compared with the system's own.
Rule 2: a file that is not there is no fault of the disk: something lost it.
"""

import errno
import os
from typing import Final

_ROOM: Final = "Make room on that disk, then try again. Nothing is damaged, and nothing needs repair."
_OWNER: Final = "Run this as the user that owns the path, or correct its owner and mode."
_MOUNTED: Final = "Mount the disk for writing, then try again; a system remounts a failing disk read-only."
_FILES: Final = "Raise the limit of open files (ulimit -n), then try again."
_DISK: Final = "See to the disk first: the system's log names what failed."

CURES: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _MOUNTED,
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: "Give the process more memory, then try again.",
    errno.EIO: _DISK,
    errno.ENXIO: _DISK,
    errno.ENODEV: _DISK,
    errno.ESTALE: "Mount the remote disk again, then try again.",
    errno.ETIMEDOUT: "Wait for the remote disk, then try again.",
}
"""What to do about each fault, by its number."""


def is_disk_fault(number: int | None) -> bool:
    """Say whether an error of this number is the disk's or the system's, and says nothing of a file's content."""
    return number in CURES


def fault_in(text: str) -> int | None:
    """Return the number of the fault that a text ends with, in the system's words; None where it ends with none."""
    return next((number for number in CURES if text.endswith(os.strerror(number))), None)
