"""An ordered map of bytes on a disk: what the store asks of its database.

Rule 1: a batch is written whole or not at all, whatever happens meanwhile. When a synced write has returned,
the batch is on the disk itself.
Rule 2: checksums are verified on every read; what cannot be read is a DatabaseError, never an absent record. Where the
disk is full, read-only, not ours or failing, that is a DatabaseRefused: nobody takes it for damage.
Rule 3: an iteration and a snapshot read one version, whatever is written meanwhile.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Protocol


class DatabaseError(Exception):
    """The database cannot be opened, read or written. The text says why, in its own words."""


class DatabaseLocked(DatabaseError):
    """This or another process has the database open."""


class DatabaseRefused(DatabaseError):
    """The disk or the system refused, which says nothing of what is stored (node/diskfaults.py)."""

    def __init__(self, reason: str, number: int) -> None:
        super().__init__(reason)
        self.number = number


class WriteBatch:
    """Changes that are written together, in order: the last one to a key stands."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value under a key."""
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a key, if it is there."""
        self.changes[key] = None


class Reader(Protocol):
    """The database, or a snapshot of it."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None. Raises DatabaseError."""
        ...


class Database(Reader, Protocol):
    """An open database. Not for use from two threads at once."""

    def iterate(self, start: bytes, stop: bytes | None) -> Generator[tuple[bytes, bytes], None, None]:
        """Yield keys from `start` up to, without, `stop`, in order, with their values.

        None stops at the end. Raises DatabaseError. Close the generator where it is not exhausted.
        """
        ...

    def read_view(self) -> AbstractContextManager[Reader]:
        """Read one version."""
        ...

    def write(self, batch: WriteBatch, *, is_synced: bool) -> None:
        """Make the changes. Raises DatabaseError, after which nothing is known about them."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the first key after all that begin with `prefix`; None where there is none."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None
