"""The snapshot store: the snapshots that this node made or is fetching, in a database of their own.

Rule 1: a snapshot is whole once its entry is written, which comes after all its chunks. Without an entry, chunks
are strays and are swept away.
Rule 2: at most KEPT_MAX whole snapshots and one that is being fetched are kept; the oldest goes first.
Rule 3: the snapshot store holds nothing that cannot be had again. What is damaged is not held; it never stops the node.

Tables, by the first byte of the key; integers are 8 bytes, big-endian:

    S height -> entry of a whole snapshot             F -> entry of the one that is being fetched
    C place, index -> chunk                           G place, index -> nothing, for a chunk that was fetched
    N place, level (1 byte), index -> node of the chunks' tree
"""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.chain.snapshots import DESCRIPTION_SIZE_MAX, Description
from ledger.encoding.records import Integer, pack, unpack
from ledger.errors import LedgerError
from ledger.trees.merkle import Node, inclusion_path_from_nodes
from node.storage.database import (
    Database,
    DatabaseError,
    DatabaseLocked,
    DatabaseRefused,
    WriteBatch,
    prefix_end,
)
from node.storage.leveldb import LevelDatabase
from node.storage.quarantine import keep_aside
from node.storage.tables import number_key, refused

logger = logging.getLogger(__name__)

KEPT_MAX: Final = 2
SWEPT_MAX: Final = 64

_WHOLE, _FETCHING, _CHUNK, _FETCHED, _NODE = b"S", b"F", b"C", b"G", b"N"
_PLACED: Final = (_CHUNK, _FETCHED, _NODE)
_ENTRY_SIZE_MAX: Final = DESCRIPTION_SIZE_MAX + 16
_NUMBER_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a snapshot's chunks lie, and what it is."""

    place: Integer
    description: Description


class SnapshotStoreError(Exception):
    """The snapshot store could not be written. Nothing is lost that cannot be had again."""


class SnapshotStore:
    """Snapshots in a database. Not for use from two threads at once."""

    def __init__(self, database: Database) -> None:
        """Read what is there; what cannot be read is swept away. Raises SnapshotStoreError."""
        self._database = database
        try:
            entries = self._read_entries()
            places = self._places()
        except DatabaseRefused:
            raise
        except DatabaseError as error:
            raise SnapshotStoreError(str(error)) from error
        self._whole = dict(sorted(entries.items()))
        self.fetching = self._read_fetching()
        self._kept = {entry.place for entry in self._whole.values()}
        if self.fetching is not None:
            self._kept.add(self.fetching.place)
        self._strays = sorted(places - self._kept)
        self._next_place = max(places | self._kept, default=0) + 1

    @classmethod
    def open(cls, path: Path) -> "SnapshotStore":
        """Open the snapshot store at `path`. One that is damaged is kept aside and begun anew.

        Raises SnapshotStoreError, or StoreRefused where the disk refuses.
        """
        try:
            return cls._open(path)
        except DatabaseRefused as error:
            raise refused(error) from error
        except DatabaseLocked as error:
            raise SnapshotStoreError(f"{path}: expected to be the only user, found: {error}") from error
        except (DatabaseError, SnapshotStoreError) as error:
            logger.error("snapshot_store.damaged path=%s error=%s kept=%s", path, error, keep_aside(path))
            return cls._open(path)

    @classmethod
    def _open(cls, path: Path) -> "SnapshotStore":
        database = LevelDatabase.open(path)
        try:
            return cls(database)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    # -- whole snapshots --------------------------------------------------------------------------------

    def newest(self) -> Entry | None:
        """Return the whole snapshot of the greatest height."""
        return next(reversed(self._whole.values()), None)

    def find(self, height: int) -> Entry | None:
        """Return the whole snapshot at a height."""
        return self._whole.get(height)

    def load_chunk(self, entry: Entry, index: int) -> tuple[bytes, tuple[bytes, ...]] | None:
        """Return a chunk with its siblings under the root; None where it is not held, or damaged."""

        def load_node(level: int, place: int) -> bytes:
            found = self._database.get(_node_key(entry.place, level, place))
            if found is None:
                raise DatabaseError("a node of the chunks' tree is missing")
            return found

        try:
            chunk = self.load_raw(entry, index)
            path = inclusion_path_from_nodes(index, entry.description.chunks_count, load_node)
        except (DatabaseError, LedgerError):
            return None
        return None if chunk is None else (chunk, path.siblings)

    def load_raw(self, entry: Entry, index: int) -> bytes | None:
        """Return a chunk as it is stored; None where it is not held, or damaged."""
        try:
            return self._database.get(_chunk_key(entry.place, index))
        except DatabaseError:
            return None

    # -- making and fetching ----------------------------------------------------------------------------

    def take_place(self) -> int:
        """Return a fresh place for a snapshot in the making. It is a stray after a restart."""
        self._next_place += 1
        self._kept.add(self._next_place)
        return self._next_place

    def put_chunk(self, place: int, index: int, chunk: bytes, nodes: Sequence[Node]) -> None:
        """Write a chunk that this node made, with the nodes that it completes. Raises SnapshotStoreError."""
        batch = WriteBatch()
        batch.put(_chunk_key(place, index), chunk)
        _put_nodes(batch, place, nodes)
        self._write(batch)

    def put_fetched(self, entry: Entry, index: int, chunk: bytes) -> None:
        """Write a chunk that a peer sent. Raises SnapshotStoreError."""
        batch = WriteBatch()
        batch.put(_chunk_key(entry.place, index), chunk)
        batch.put(_fetched_key(entry.place, index), b"")
        self._write(batch)

    def put_nodes(self, place: int, nodes: Sequence[Node]) -> None:
        """Write nodes of the chunks' tree. Raises SnapshotStoreError."""
        batch = WriteBatch()
        _put_nodes(batch, place, nodes)
        self._write(batch)

    def drop_chunk(self, entry: Entry, index: int) -> None:
        """Forget a chunk that turned out to be damaged. Raises SnapshotStoreError."""
        batch = WriteBatch()
        batch.delete(_chunk_key(entry.place, index))
        batch.delete(_fetched_key(entry.place, index))
        self._write(batch)

    def begin_fetch(self, description: Description) -> Entry:
        """Begin to fetch a snapshot, in place of any other. Raises SnapshotStoreError."""
        self.drop_fetch()
        entry = Entry(self.take_place(), description)
        batch = WriteBatch()
        batch.put(_FETCHING, pack(entry))
        self._write(batch)
        self.fetching = entry
        return entry

    def fetched(self, entry: Entry) -> set[int]:
        """Return the indices of the chunks that were fetched. Raises SnapshotStoreError."""
        prefix = _FETCHED + number_key(entry.place)
        try:
            with closing(self._database.iterate(prefix, prefix_end(prefix))) as found:
                return {int.from_bytes(key[len(prefix) :], "big") for key, _ in found}
        except DatabaseError as error:
            raise SnapshotStoreError(str(error)) from error

    def drop_fetch(self) -> None:
        """Give up what is being fetched. Raises SnapshotStoreError."""
        if self.fetching is None:
            return
        batch = WriteBatch()
        batch.delete(_FETCHING)
        self._write(batch)
        self._leave(self.fetching.place)
        self.fetching = None

    def finish(self, entry: Entry) -> None:
        """Keep a snapshot whose chunks and nodes are all written; the oldest past KEPT_MAX go.

        Raises SnapshotStoreError.
        """
        height = entry.description.encoded_header().header.height
        batch = WriteBatch()
        batch.put(_WHOLE + number_key(height), pack(entry))
        kept = dict(sorted({**self._whole, height: entry}.items())[-KEPT_MAX:])
        dropped = [each for each in self._whole if each not in kept]
        for old in dropped:
            batch.delete(_WHOLE + number_key(old))
        if self.fetching is not None and self.fetching.place == entry.place:
            batch.delete(_FETCHING)
            self.fetching = None
        if height not in kept:
            batch.delete(_WHOLE + number_key(height))
        self._write(batch)
        places = {each.place for each in self._whole.values()} | {entry.place}
        self._whole = kept
        for place in places - {each.place for each in kept.values()}:
            self._leave(place)

    def give_up(self, place: int) -> None:
        """Leave the chunks of a snapshot that will not be finished to be swept away."""
        self._leave(place)

    def sweep(self) -> bool:
        """Remove a few records that belong to no snapshot; say whether there are more. Raises SnapshotStoreError."""
        if not self._strays:
            return False
        place = self._strays[0]
        try:
            keys = self._some_keys(place)
        except DatabaseError as error:
            raise SnapshotStoreError(str(error)) from error
        if not keys:
            self._strays.pop(0)
            return bool(self._strays)
        batch = WriteBatch()
        for key in keys:
            batch.delete(key)
        self._write(batch)
        return True

    # -- records ----------------------------------------------------------------------------------------

    def _leave(self, place: int) -> None:
        self._kept.discard(place)
        self._strays.append(place)

    def _some_keys(self, place: int) -> list[bytes]:
        keys: list[bytes] = []
        for table in _PLACED:
            prefix = table + number_key(place)
            with closing(self._database.iterate(prefix, prefix_end(prefix))) as found:
                for key, _ in found:
                    keys.append(key)
                    if len(keys) == SWEPT_MAX:
                        return keys
        return keys

    def _read_entries(self) -> dict[int, Entry]:
        found: dict[int, Entry] = {}
        with closing(self._database.iterate(_WHOLE, prefix_end(_WHOLE))) as records:
            for key, value in records:
                entry = _decode_entry(value)
                if entry is not None:
                    found[int.from_bytes(key[1:], "big")] = entry
        return found

    def _read_fetching(self) -> Entry | None:
        try:
            value = self._database.get(_FETCHING)
        except DatabaseError:
            return None
        return None if value is None else _decode_entry(value)

    def _places(self) -> set[int]:
        """All places that hold a record, found by leaping from one to the next."""
        places: set[int] = set()
        for table in _PLACED:
            start = table
            while True:
                with closing(self._database.iterate(start, prefix_end(table))) as found:
                    record = next(found, None)
                if record is None:
                    break
                number = record[0][1 : 1 + _NUMBER_SIZE]
                places.add(int.from_bytes(number, "big"))
                start = table + number_key(int.from_bytes(number, "big") + 1)
        return places

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._database.write(batch, is_synced=True)
        except DatabaseError as error:
            raise SnapshotStoreError(f"expected a durable write, found: {error}") from error


def _chunk_key(place: int, index: int) -> bytes:
    return _CHUNK + number_key(place) + number_key(index)


def _fetched_key(place: int, index: int) -> bytes:
    return _FETCHED + number_key(place) + number_key(index)


def _node_key(place: int, level: int, index: int) -> bytes:
    return _NODE + number_key(place) + bytes([level]) + number_key(index)


def _put_nodes(batch: WriteBatch, place: int, nodes: Sequence[Node]) -> None:
    for node in nodes:
        batch.put(_node_key(place, node.level, node.index), node.hash)


def _decode_entry(encoded: bytes) -> Entry | None:
    try:
        return unpack(Entry, encoded, size_max=_ENTRY_SIZE_MAX)
    except LedgerError:
        return None
