"""The chain and its finalized state in LevelDB.

Rule 1: everything that becomes final is one synced batch: a crash leaves whole blocks or none.
Rule 2: checksums are verified on every read; what is damaged is named, never served.
Rule 3: after a failed write the store takes nothing more.

Tables, by the first byte of the key; integers are 8 bytes, big-endian:

    M name -> metadata        H height -> header          h block hash -> height
    T height, index -> transaction                        t transaction id -> height, index
    C height -> certificate   V state key -> leaf value   P page path -> page
    N level (1 byte), index -> history node               U height, block hash -> unfinalized block
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import plyvel

from ledger.blocks import Block, SealedHeader
from ledger.certificates import FINALIZE, QuorumCertificate
from ledger.genesis import Genesis, genesis_block
from ledger.merkle import Frontier
from ledger.overlays import Executed, Tip
from ledger.records import pack, unpack
from ledger.transactions import Transaction

SCHEMA_VERSION: Final = b"1"
PAGES_CACHED_MAX: Final = 8_192

_META, _HEADER, _HEIGHT, _TRANSACTION, _LOCATION = b"M", b"H", b"h", b"T", b"t"
_CERTIFICATE, _VALUE, _PAGE, _NODE, _PENDING = b"C", b"V", b"P", b"N", b"U"


class StoreError(Exception):
    """The stored chain cannot be used. Says what was expected and found, and the cure."""

    def __init__(self, expected: str, found: str, cure: str) -> None:
        super().__init__(f"stored chain: expected {expected}, found {found}. {cure}")
        self.expected = expected
        self.found = found
        self.cure = cure


class _Reader(Protocol):
    def get(self, key: bytes, *, verify_checksums: bool) -> bytes | None: ...


_REPAIR: Final = "Stop the node, keep the directory as evidence, and fetch the chain again from peers."


def _read(reader: _Reader, key: bytes) -> bytes | None:
    try:
        return reader.get(key, verify_checksums=True)
    except plyvel.Error as error:
        raise StoreError(
            "readable records", f"{key[:1].decode()} record damaged: {error}", _REPAIR
        ) from error


class Snapshot:
    """One version of the store: state, tip and certificate belong together."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def find_value(self, key: bytes) -> bytes | None:
        """Return a leaf's value."""
        return _read(self._reader, _VALUE + key)

    def load_page(self, path: bytes) -> bytes | None:
        """Return a page of the state tree."""
        return _read(self._reader, _PAGE + path)

    def tip(self) -> Tip:
        """Return the finalized tip of this version."""
        height = _number(self._require(_META + b"height"))
        sealed = SealedHeader.decode(self._require(_HEADER + _key(height)))
        return Tip(sealed, self, unpack(Frontier, self._require(_META + b"history")))

    def tip_certificate(self) -> QuorumCertificate | None:
        """Return the certificate of the tip; None for genesis."""
        height = _number(self._require(_META + b"height"))
        encoded = _read(self._reader, _CERTIFICATE + _key(height))
        return None if encoded is None else unpack(QuorumCertificate, encoded)

    def _require(self, key: bytes) -> bytes:
        value = _read(self._reader, key)
        if value is None:
            raise StoreError(f"the record {key[:1].decode()}", "nothing", _REPAIR)
        return value


class Store(Snapshot):
    """The open store. It is the state of the finalized tip. Not for use from two threads at once."""

    def __init__(self, database: "plyvel.DB") -> None:
        """Use `Store.open`."""
        super().__init__(database)
        self._database = database
        self._pages: OrderedDict[bytes, bytes | None] = OrderedDict()
        self._tip: Tip | None = None
        self._failure: str | None = None

    @classmethod
    def open(cls, path: Path, genesis: Genesis) -> "Store":
        """Open the store of a chain, or create it with block 0. Raises StoreError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            database = plyvel.DB(str(path), create_if_missing=True, paranoid_checks=True)
        except plyvel.Error as error:
            if "lock" in str(error).lower():
                cure = "Stop the node that runs on this home, or ask it through --url."
                raise StoreError(f"{path} to be free", "another process that holds it", cure) from error
            raise StoreError(f"a readable database in {path}", f"{error}", _REPAIR) from error
        store = cls(database)
        try:
            store._begin(genesis)
            store._tip = store._stored_tip()
        except BaseException:
            database.close()
            raise
        return store

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _begin(self, genesis: Genesis) -> None:
        chain_id = genesis.content.chain_id
        found = _read(self._database, _META + b"chain")
        if found is None:
            if next(iter(self._database.iterator(include_value=False)), None) is not None:
                raise StoreError("a chain id", "records without one", _REPAIR)
            start = genesis_block(genesis.content)
            with self._database.write_batch(transaction=True, sync=True) as batch:
                batch.put(_META + b"chain", chain_id)
                batch.put(_META + b"schema", SCHEMA_VERSION)
                self._put_block(batch, start, Frontier())
                self._put_tip(batch, start)
            return
        if found != chain_id:
            cure = "Use the genesis.json that this home was made with."
            raise StoreError(f"chain {chain_id.hex()}", found.hex(), cure)
        schema = _read(self._database, _META + b"schema")
        if schema != SCHEMA_VERSION:
            cure = "Use the version of Luohu that wrote it."
            raise StoreError(f"storage version {SCHEMA_VERSION.decode()}", f"{schema!r}", cure)

    def _stored_tip(self) -> Tip:
        stored = super().tip()
        return Tip(stored.sealed, self, stored.history)

    # -- the finalized tip ------------------------------------------------------------------------------

    def tip(self) -> Tip:
        """Return the finalized tip."""
        assert self._tip is not None, "an open store has a tip"
        return self._tip

    def load_page(self, path: bytes) -> bytes | None:
        """Return a page of the state tree, from memory where it was used lately."""
        if path in self._pages:
            self._pages.move_to_end(path)
            return self._pages[path]
        page = super().load_page(path)
        self._remember(path, page)
        return page

    def _remember(self, path: bytes, page: bytes | None) -> None:
        self._pages[path] = page
        self._pages.move_to_end(path)
        if len(self._pages) > PAGES_CACHED_MAX:
            self._pages.popitem(last=False)

    def commit(self, executed: Sequence[Executed], certificate: QuorumCertificate) -> None:
        """Make blocks that follow the tip final, in one synced batch; the certificate finalizes the last.

        Raises StoreError where the disk fails; the store then takes nothing more.
        """
        self._require_usable()
        self._check_follows(executed, certificate)
        history = self.tip().history
        with self._writing():
            batch = self._database.write_batch(transaction=True, sync=True)
            for each in executed:
                self._put_block(batch, each, history)
                history = each.history
            last = executed[-1]
            batch.put(_CERTIFICATE + _key(last.block.header.height), pack(certificate))
            self._put_tip(batch, last)
            for key in self._pending_keys(last.block.header.height):
                batch.delete(_PENDING + key)
            batch.write()
        for each in executed:
            for path, page in each.overlay.pages.items():
                self._remember(path, page)
        self._tip = Tip(last.block.sealed, self, last.history)

    def _check_follows(self, executed: Sequence[Executed], certificate: QuorumCertificate) -> None:
        before = self.tip().sealed
        for each in executed:
            assert each.block.header.height == before.header.height + 1, "blocks are committed in order"
            assert each.block.header.parent_hash == before.hash, "blocks are committed on their parents"
            before = each.block.sealed
        subject = certificate.subject
        assert subject.kind == FINALIZE, "only a finalization makes a block final"
        assert subject.block_hash == before.hash, "the certificate finalizes the last block"

    def _put_block(self, batch: "plyvel.WriteBatch", executed: Executed, history: Frontier) -> None:
        block = executed.block
        height = _key(block.header.height)
        batch.put(_HEADER + height, block.sealed.encoded)
        batch.put(_HEIGHT + block.hash, height)
        for index, transaction in enumerate(block.transactions):
            place = height + _key(index)
            batch.put(_TRANSACTION + place, transaction.encoded)
            batch.put(_LOCATION + transaction.id, place)
        for key, value in executed.overlay.values.items():
            batch.put(_VALUE + key, value)
        for path, page in executed.overlay.pages.items():
            if page is None:
                batch.delete(_PAGE + path)
            else:
                batch.put(_PAGE + path, page)
        _, nodes = history.append(block.hash)
        for node in nodes:
            batch.put(_NODE + bytes([node.level]) + _key(node.index), node.hash)

    @staticmethod
    def _put_tip(batch: "plyvel.WriteBatch", executed: Executed) -> None:
        batch.put(_META + b"height", _key(executed.block.header.height))
        batch.put(_META + b"history", pack(executed.history))

    # -- unfinalized blocks -----------------------------------------------------------------------------

    def put_pending(self, height: int, block_hash: bytes, encoded: bytes) -> None:
        """Keep a block that is not final, durably. Raises StoreError where the disk fails."""
        self._require_usable()
        with self._writing():
            self._database.put(_PENDING + _key(height) + block_hash, encoded, sync=True)

    def pending(self) -> Iterator[bytes]:
        """Iterate over the blocks that are kept and not final, lowest first."""
        return (encoded for _, encoded in self._scan(_PENDING))

    def _pending_keys(self, height_max: int) -> list[bytes]:
        with self._database.iterator(prefix=_PENDING, include_value=False) as found:
            return [key[1:] for key in found if _number(key[1:9]) <= height_max]

    # -- lookups ----------------------------------------------------------------------------------------

    def find_header(self, height: int) -> SealedHeader | None:
        """Return the header at a height."""
        encoded = _read(self._database, _HEADER + _key(height))
        return None if encoded is None else SealedHeader.decode(encoded)

    def find_height(self, block_hash: bytes) -> int | None:
        """Return the height of a final block."""
        found = _read(self._database, _HEIGHT + block_hash)
        return None if found is None else _number(found)

    def load_block(self, height: int) -> Block | None:
        """Return the block at a height."""
        sealed = self.find_header(height)
        if sealed is None:
            return None
        found = self._scan(_TRANSACTION, _key(height))
        return Block(sealed, tuple(Transaction.decode(encoded) for _, encoded in found))

    def blocks_from(self, height: int, count: int, size_max: int) -> list[Block]:
        """Return consecutive blocks from a height on, within count and bytes, but at least one if any."""
        blocks: list[Block] = []
        size = 0
        while len(blocks) < count:
            block = self.load_block(height + len(blocks))
            if block is None:
                break
            size += len(block.sealed.encoded) + sum(len(each.encoded) for each in block.transactions)
            if blocks and size > size_max:
                break
            blocks.append(block)
        return blocks

    def find_transaction(self, transaction_id: bytes) -> tuple[int, int] | None:
        """Return height and index of a final transaction."""
        place = _read(self._database, _LOCATION + transaction_id)
        return None if place is None else (_number(place[:8]), _number(place[8:]))

    def find_certificate(self, height: int) -> QuorumCertificate | None:
        """Return the certificate of a block that was finalized directly."""
        encoded = _read(self._database, _CERTIFICATE + _key(height))
        return None if encoded is None else unpack(QuorumCertificate, encoded)

    def next_certificate(self, height: int) -> tuple[int, QuorumCertificate] | None:
        """Return the lowest directly finalized height at or above one, with its certificate."""
        start, stop = _CERTIFICATE + _key(height), _CERTIFICATE + b"\xff" * 9
        try:
            with self._database.iterator(start=start, stop=stop, verify_checksums=True) as found:
                for key, encoded in found:
                    return _number(key[1:]), unpack(QuorumCertificate, encoded)
        except plyvel.Error as error:
            raise StoreError("readable certificates", f"{error}", _REPAIR) from error
        return None

    def load_history_node(self, level: int, index: int) -> bytes:
        """Return a complete subtree's hash of the history tree (a merkle.LoadNode)."""
        return self._require(_NODE + bytes([level]) + _key(index))

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over all leaves, as (state key, value)."""
        return self._scan(_VALUE)

    def pages(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over all pages, as (path, page)."""
        return self._scan(_PAGE)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Read one version, whatever is committed meanwhile."""
        snapshot = self._database.snapshot()
        try:
            yield Snapshot(snapshot)
        finally:
            snapshot.close()

    def _scan(self, table: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        start = table + prefix
        try:
            with self._database.iterator(prefix=start, verify_checksums=True) as found:
                for key, value in found:
                    yield key[1:], value
        except plyvel.Error as error:
            raise StoreError(
                "readable records", f"{table.decode()} table damaged: {error}", _REPAIR
            ) from error

    def _require_usable(self) -> None:
        if self._failure is not None:
            raise StoreError("a store that takes writes", self._failure, "Restart the node.")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (plyvel.Error, OSError) as error:
            self._failure = f"an earlier failed write: {error}"
            cure = "Check the disk (space, permissions, errors), then restart the node."
            raise StoreError("a durable write", f"{error}", cure) from error


def _key(number: int) -> bytes:
    return struct.pack(">Q", number)


def _number(key: bytes) -> int:
    (number,) = struct.unpack(">Q", key)
    return int(number)
