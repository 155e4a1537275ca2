"""The database of a simulated machine: what is written, what of it is synced, and what rots."""

import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from node.storage.database import DatabaseError, Reader, WriteBatch

Undo = list[tuple[bytes, bytes | None]]

CORRUPTION = "Corruption: block checksum mismatch"


class Steps(Protocol):
    """The disk, as the database uses it."""

    def step(self, name: str) -> None: ...

    def write(self, name: str) -> None: ...

    def sync(self, name: str) -> None: ...


@dataclass(slots=True)
class Records:
    """The stored map, by the first byte of its keys, and how to undo what is not synced."""

    tables: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)
    unsynced: list[Undo] = field(default_factory=list)
    rotten: set[bytes] = field(default_factory=set)
    reads_until_flip: int | None = None
    tears_batches: bool = False

    def find(self, key: bytes) -> bytes | None:
        """Return what is written under a key, whether it can be read or not."""
        return self.tables.get(key[:1], {}).get(key)

    def find_synced(self, key: bytes) -> bytes | None:
        """Return what a power cut now would leave under a key at least, or None."""
        for undo in self.unsynced:
            for changed, before in undo:
                if changed == key:
                    return before
        return self.find(key)

    def keys(self, start: bytes, stop: bytes | None) -> list[bytes]:
        """Return the keys from `start` to before `stop`, in order."""
        if start[:1] and stop is not None and stop[:1] == start[:1]:
            tables = [self.tables.get(start[:1], {})]
        else:
            tables = list(self.tables.values())
        return sorted(
            key for table in tables for key in table if key >= start and (stop is None or key < stop)
        )

    def apply(self, batch: WriteBatch) -> None:
        """Make the changes; they are not synced."""
        undo: Undo = []
        for key, value in batch.changes.items():
            table = self.tables.setdefault(key[:1], {})
            undo.append((key, table.get(key)))
            self.rotten.discard(key)
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value
        self.unsynced.append(undo)

    def sync(self) -> None:
        """Make all changes so far survive."""
        self.unsynced.clear()

    def cut_power(self, chance: random.Random) -> None:
        """Keep a prefix of the batches that were not synced."""
        self.reads_until_flip = None
        kept_count = chance.randint(0, len(self.unsynced))
        for undo in reversed(self.unsynced[kept_count:]):
            torn = undo[len(undo) // 2 :] if self.tears_batches else undo
            for key, before in reversed(torn):
                table = self.tables[key[:1]]
                if before is None:
                    table.pop(key, None)
                else:
                    table[key] = before
        self.unsynced.clear()

    def rot(self, chance: random.Random) -> bool:
        """Flip bits in one block of neighbouring records; tell whether there was one."""
        tables = sorted(table for table, content in self.tables.items() if content)
        if not tables:
            return False
        keys = sorted(self.tables[chance.choice(tables)])
        first = chance.randrange(len(keys))
        self.rotten.update(keys[first : first + 6])
        return True


class SimulatedDatabase:
    """An open database on a simulated disk."""

    def __init__(self, disk: Steps, records: Records) -> None:
        self._disk = disk
        self._records = records

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None."""
        self._check(key)
        return self._records.find(key)

    def _check(self, key: bytes) -> None:
        records = self._records
        if records.reads_until_flip is not None:
            records.reads_until_flip -= 1
            if records.reads_until_flip < 0:
                records.reads_until_flip = None
                raise DatabaseError(CORRUPTION)
        if records.rotten and key in records.rotten:
            raise DatabaseError(CORRUPTION)

    def iterate(self, start: bytes, stop: bytes | None) -> Generator[tuple[bytes, bytes], None, None]:
        """Yield keys from `start` up to `stop` with their values, as of the first step."""
        return self._iterate([(key, self._records.find(key)) for key in self._records.keys(start, stop)])

    def _iterate(self, found: list[tuple[bytes, bytes | None]]) -> Generator[tuple[bytes, bytes], None, None]:
        for key, value in found:
            self._check(key)
            assert value is not None, "a key that was there"
            yield key, value

    @contextmanager
    def read_view(self) -> Iterator[Reader]:
        """Read one version."""
        yield _Version({name: dict(table) for name, table in self._records.tables.items()})

    def write(self, batch: WriteBatch, *, is_synced: bool) -> None:
        """Make the changes, all or none."""
        try:
            self._disk.write("database.write")
        except OSError as error:
            raise DatabaseError(f"IO error: {error.strerror}") from error
        self._records.apply(batch)
        if is_synced:
            self._disk.sync("database.sync")
            self._records.sync()
            self._disk.step("database.synced")

    def close(self) -> None:
        """Release the database."""


@dataclass(frozen=True, slots=True)
class _Version:
    tables: dict[bytes, dict[bytes, bytes]]

    def get(self, key: bytes) -> bytes | None:
        return self.tables.get(key[:1], {}).get(key)
