"""The database in LevelDB (docs/decisions/0002).

Rule 1: a directory that holds data of a database without its CURRENT file is refused: LevelDB would begin an
empty database there and delete the files.
Rule 2: LevelDB's errors, whose texts are bytes, leave this module as DatabaseError; what the disk or the system refused
as DatabaseRefused.
"""

import os
import secrets
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

if sys.version_info >= (3, 13):
    # The fork with wheels there, of the same interface under a name of its own.
    import plyvel_next as plyvel
else:
    import plyvel as plyvel

from node.diskfaults import fault_in, is_disk_fault
from node.storage.database import DatabaseError, DatabaseLocked, DatabaseRefused, Reader, WriteBatch

# What LevelDB writes only once CURRENT is there (tables and write-ahead logs).
_DATA_SUFFIXES: Final = frozenset((".ldb", ".sst", ".log"))
# LevelDB's texts for a lock that this process, and that another process, holds.
_HELD: Final = ("already held by process", "temporarily unavailable")

# Each block writes the same upper pages of the state tree anew: what is gathered in memory is written to tables once,
# and merged with other tables less often. It is what the log holds as well, and so read again at a start. Each database
# draws a size of its own: nodes write the same, and would all merge at the same blocks.
WRITE_BUFFER_SIZE_MIN: Final = 32 * 1024 * 1024
WRITE_BUFFER_SIZE_SPREAD: Final = 8 * 1024 * 1024
BLOCK_CACHE_SIZE: Final = 32 * 1024 * 1024
TABLE_SIZE: Final = 8 * 1024 * 1024
# Every new record asks for keys that are not there, and a table that is asked in vain comes into memory for it.
# (What is stored is hashes mostly, so it is not compressed.)
FILTER_BITS: Final = 14
COMPACTION_NICENESS: Final = 19
_TASKS: Final = Path("/proc/self/task")


class _Snapshot:
    """One version of a database."""

    def __init__(self, snapshot: "plyvel.Snapshot") -> None:
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        return _read(self._snapshot, key)


class LevelDatabase:
    """A database in a directory of its own."""

    def __init__(self, database: "plyvel.DB") -> None:
        """Use `LevelDatabase.open`."""
        self._opened: plyvel.DB | None = database

    @classmethod
    def open(cls, path: Path) -> "LevelDatabase":
        """Open the database at `path`, or create it. Raises DatabaseError, or OSError about the path."""
        path.mkdir(parents=True, exist_ok=True)
        _refuse_orphans(path)
        return cls._open(path, paranoid_checks=True)

    @classmethod
    def open_remains(cls, path: Path) -> "LevelDatabase":
        """Open what the damaged logs of a database leave of it, for whoever examines it and believes nothing.

        Raises DatabaseError where not even that opens.
        """
        _refuse_orphans(path)
        return cls._open(path, paranoid_checks=False)

    @classmethod
    def salvage(cls, path: Path) -> "LevelDatabase":
        """Make a database of whatever tables and logs are in a folder, and open it there. Raises DatabaseError."""
        with _translated():
            plyvel.repair_db(str(path))
        return cls._open(path, paranoid_checks=False)

    @classmethod
    def _open(cls, path: Path, *, paranoid_checks: bool) -> "LevelDatabase":
        with _translated(), _yielding_in_compaction():
            database = plyvel.DB(
                str(path),
                create_if_missing=True,
                paranoid_checks=paranoid_checks,
                write_buffer_size=WRITE_BUFFER_SIZE_MIN + secrets.randbelow(WRITE_BUFFER_SIZE_SPREAD),
                lru_cache_size=BLOCK_CACHE_SIZE,
                max_file_size=TABLE_SIZE,
                bloom_filter_bits=FILTER_BITS,
                compression=None,
            )
            # An empty merge: LevelDB's thread begins with the first.
            database.compact_range(start=b"\0", stop=b"\0")
            return cls(database)

    @property
    def _database(self) -> "plyvel.DB":
        assert self._opened is not None, "a closed database is not used"
        return self._opened

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None."""
        return _read(self._database, key)

    def iterate(self, start: bytes, stop: bytes | None) -> Generator[tuple[bytes, bytes], None, None]:
        """Yield keys from `start` up to `stop` with their values."""
        # Not plyvel's `iterator`: where the last block is damaged, that one takes it for the end.
        with _translated():
            found = self._database.raw_iterator(verify_checksums=True)
            try:
                found.seek(start)
                while found.valid():
                    key, value = found.item()
                    if stop is not None and key >= stop:
                        return
                    yield key, value
                    found.next()
            finally:
                found.close()
                # An error is kept for as long as the node takes to end, and its frames with it (see `close`).
                del found

    @contextmanager
    def read_view(self) -> Iterator[Reader]:
        """Read one version."""
        snapshot = self._database.snapshot()
        try:
            yield _Snapshot(snapshot)
        finally:
            snapshot.close()

    def write(self, batch: WriteBatch, *, is_synced: bool) -> None:
        """Make the changes, all or none."""
        with _translated():
            written = self._database.write_batch(transaction=True, sync=is_synced)
            try:
                for key, value in batch.changes.items():
                    if value is None:
                        written.delete(key)
                    else:
                        written.put(key, value)
                written.write()
            finally:
                del written

    def close(self) -> None:
        """Release the database. It may be closed again, and not used."""
        if self._opened is not None:
            self._opened.close()
        # Let go of it now. What is left of it at the interpreter's end fails there, and says so without a word.
        self._opened = None


def _refuse_orphans(path: Path) -> None:
    is_without_current = not (path / "CURRENT").exists()
    orphans = [each.name for each in path.iterdir() if each.suffix in _DATA_SUFFIXES]
    if is_without_current and orphans:
        raise DatabaseError(f"no file CURRENT, only {', '.join(sorted(orphans))}")


@contextmanager
def _yielding_in_compaction() -> Iterator[None]:
    """Leave LevelDB's own thread, which merges tables, only the processor time that nobody else wants. (Linux only.)

    It writes tens of MB at once. The process's first database begins it here: at the opening, where there is
    something to merge already.
    """
    before = _threads()
    yield
    for thread in _threads() - before:
        os.setpriority(os.PRIO_PROCESS, thread, COMPACTION_NICENESS)


def _threads() -> set[int]:
    return {int(each.name) for each in _TASKS.iterdir()} if _TASKS.exists() else set()


def _read(reader: "plyvel.DB | plyvel.Snapshot", key: bytes) -> bytes | None:
    try:
        found: bytes | None = reader.get(key, verify_checksums=True)
    except (plyvel.Error, OSError) as error:
        raise _translation_of(error) from error
    finally:
        del reader
    return found


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (plyvel.Error, OSError) as error:
        raise _translation_of(error) from error


def _translation_of(error: Exception) -> DatabaseError:
    reason = _reason_of(error)
    if reason.startswith("IO error: lock ") and reason.endswith(_HELD):
        return DatabaseLocked(reason)
    number = error.errno if isinstance(error, OSError) and error.errno is not None else fault_in(reason)
    if number is not None and is_disk_fault(number):
        return DatabaseRefused(reason, number)
    return DatabaseError(reason)


def _reason_of(error: Exception) -> str:
    return " ".join(
        part.decode(errors="replace") if isinstance(part, bytes) else f"{part}" for part in error.args
    )
