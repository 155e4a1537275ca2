"""The chain and its finalized state, in one database.

Rule 1: everything that becomes final is one synced batch: a crash leaves whole blocks or none.
Rule 2: checksums are verified on every read; what is damaged is named, never served.
Rule 3: after a failed write the store takes nothing more.
Rule 4: what is read belongs where it was found: a header at its height, transactions under their header's
root, the history of the tip. A record that was lost or swapped is damage like a flipped bit. Values and pages
are judged by whoever reads them under a state root.
Rule 5: a database is made where there is none, never in place of one that lost its parts. One of another chain, of
another storage version, or on a disk that refuses, is not called damaged.
Rule 6: the uppermost pages of the state tree are not stored: they follow from the others (node/storage/toppages.py).
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from ledger.chain.overlays import Executed, Tip
from ledger.chain.snapshots import Description
from ledger.encoding.records import pack, unpack
from ledger.genesis import Genesis, genesis_block
from ledger.rules.blocks import Block, EncodedHeader, transactions_root
from ledger.rules.certificates import FINALIZE, QuorumCertificate, ValidatorSet
from ledger.rules.state import require_validators
from ledger.rules.transactions import Transaction
from ledger.trees.merkle import Frontier
from ledger.trust import FinalizedHeader, Handover
from node.diskfaults import CURES, is_disk_fault
from node.errors import StoreError, StoreRefused
from node.storage.database import (
    Database,
    DatabaseError,
    DatabaseLocked,
    DatabaseRefused,
    Reader,
    WriteBatch,
    prefix_end,
)
from node.storage.leveldb import LevelDatabase
from node.storage.recent import Recent
from node.storage.stagingstate import StagingState
from node.storage.tables import (
    CERTIFICATE,
    HEADER,
    HEIGHT,
    LOCATION,
    META,
    NODE,
    PENDING,
    SEAL,
    STATE_TABLES,
    TRANSACTION,
    StoreDamaged,
    damaged,
    decode_number,
    decode_record,
    number_key,
    read_record,
    reading,
    refused,
)
from node.storage.toppages import grown_top_pages, is_top_page, read_top_pages, stored_pages

__all__ = ("ReadView", "Store", "StoreDamaged", "StoreError")

SCHEMA_VERSION: Final = b"4"
PAGES_CACHED_MAX: Final = 16_384
# A transaction asks for its anchor when it is admitted and when it is executed, and for the same few members and codes.
VALUES_CACHED_MAX: Final = 4_096


class StoreOfAnotherChain(StoreError):
    """An intact store that belongs to another genesis."""

    def __init__(self, *, expected: bytes, found: bytes) -> None:
        cure = (
            "Use the genesis.json that this home was made with. If genesis.json is right, data/ is another home's: "
            "move it away, and put this home's own back."
        )
        super().__init__(expected=f"chain {expected.hex()}", found=found.hex(), cure=cure)


class StoreOfAnotherVersion(StoreError):
    """An intact store that another release wrote. `version` is its storage version."""

    def __init__(self, *, version: int) -> None:
        writer = "an older" if version < int(SCHEMA_VERSION) else "a newer"
        cure = (
            "Nothing is damaged. To stay with it, install the release that wrote it. To change releases, do so on one "
            "node after the other, while the others run: stop it, install, luohu node repair --home HOME (it asks "
            "peers, then moves this chain aside), start it, and wait until it votes. Never on all nodes at once."
        )
        super().__init__(
            expected=f"storage version {SCHEMA_VERSION.decode()}",
            found=f"storage version {version}, which {writer} release wrote",
            cure=cure,
        )
        self.version = version


def _decode_certificate(encoded: bytes) -> QuorumCertificate:
    return unpack(QuorumCertificate, encoded)


def _decode_validators(encoded: bytes) -> ValidatorSet:
    return unpack(ValidatorSet, encoded)


def _decode_frontier(encoded: bytes) -> Frontier:
    return unpack(Frontier, encoded)


def _header_in(reader: Reader, height: int) -> EncodedHeader | None:
    encoded = read_record(reader, HEADER + number_key(height))
    return None if encoded is None else _header_of(height, encoded)


def _header_of(height: int, encoded: bytes) -> EncodedHeader:
    key = HEADER + number_key(height)
    encoded_header = decode_record(EncodedHeader.decode, key, encoded)
    if encoded_header.header.height != height:
        raise damaged(key, f"the header of height {encoded_header.header.height}")
    return encoded_header


def _whole_block(encoded_header: EncodedHeader, transactions: tuple[Transaction, ...]) -> Block:
    root = transactions_root(tuple(transaction.id for transaction in transactions))
    if root != encoded_header.header.transactions_root:
        found = f"{len(transactions)} transactions that are not those of its header"
        raise damaged(TRANSACTION + number_key(encoded_header.header.height), found)
    return Block(encoded_header, transactions)


def _scan(
    database: Database, table: bytes, prefix: bytes = b""
) -> Generator[tuple[bytes, bytes], None, None]:
    start = table + prefix
    with reading(start), closing(database.iterate(start, prefix_end(start))) as found:
        for key, value in found:
            yield key[1:], value


class _Records:
    """The records of a table in order, taken by the places that they belong to, which only rise."""

    def __init__(self, records: Iterator[tuple[bytes, bytes]], table: bytes) -> None:
        self._records = records
        self._table = table
        self._next: tuple[bytes, bytes] | None = None
        self._failure: StoreError | None = None
        self._advance()

    @property
    def are_over(self) -> bool:
        """Whether every record was taken; one that cannot be read is not over."""
        return self._next is None and self._failure is None

    def of(self, place: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield what belongs to a place, by its whole key, and pass over what belongs to lower ones.

        Raises StoreError, where nothing read before it is at fault.
        """
        if self._failure is not None:
            raise self._failure
        while self._next is not None and self._next[0][: len(place)] <= place:
            key, value = self._next
            self._advance()
            if key.startswith(place):
                yield self._table + key, value

    def _advance(self) -> None:
        try:
            self._next = next(self._records, None)
        except StoreError as error:
            # Whether what follows belongs to this place is not known: what was read is whole or shows it.
            self._next, self._failure = None, error


def _certificate_in(reader: Reader, height: int) -> QuorumCertificate | None:
    key = CERTIFICATE + number_key(height)
    encoded = read_record(reader, key)
    return None if encoded is None else decode_record(_decode_certificate, key, encoded)


def state_in_use(reader: Reader) -> int:
    """Return which of the STATE_TABLES are in use. Raises StoreError."""
    key = META + b"state"
    found = read_record(reader, key)
    number = 0 if found is None else decode_number(key, found)
    if number >= len(STATE_TABLES):
        raise damaged(key, f"state tables {number}")
    return number


Walk = Generator[tuple[int, Block | None, QuorumCertificate | None], None, None]
"""Heights from 1 on, each with its block, or None where its header is missing, and its certificate if it has one."""


def walk_blocks(database: Database) -> Walk:
    """Read every block above genesis that a database holds, in order.

    Each table is read from end to end, so nothing is looked for, and LevelDB merges nothing on account of it. Raises
    StoreError, or LedgerError, where a record cannot be read.
    """
    with ExitStack() as stack:
        headers, transactions, certificates = (
            _Records(stack.enter_context(closing(_scan(database, table))), table)
            for table in (HEADER, TRANSACTION, CERTIFICATE)
        )
        # Genesis, which has no transactions and no certificate.
        next(headers.of(number_key(0)), None)
        height = 1
        while not headers.are_over:
            place = number_key(height)
            header = next(headers.of(place), None)
            carried = tuple(
                decode_record(Transaction.decode, key, encoded) for key, encoded in transactions.of(place)
            )
            certificate = next(certificates.of(place), None)
            yield (
                height,
                None if header is None else _whole_block(_header_of(height, header[1]), carried),
                None if certificate is None else decode_record(_decode_certificate, *certificate),
            )
            height += 1


@contextmanager
def remaining_blocks(path: Path) -> Iterator[Walk]:
    """Give the blocks that are left of a damaged store, to whoever replays them and believes nothing.

    Writes into the folder: give it one of its own (node/storage/examining.py). Raises StoreError.
    """
    try:
        database = LevelDatabase.open_remains(path)
    except DatabaseRefused as error:
        raise refused(error) from error
    except DatabaseError as error:
        raise StoreDamaged(expected=f"a readable database in {path}", found=str(error)) from error
    with closing(database), closing(walk_blocks(database)) as walk:
        yield walk


def find_tip(path: Path) -> EncodedHeader | None:
    """Return the newest final header that can be found in what is left of a store, of whatever storage version.

    Writes into the folder: give it one of its own (node/storage/examining.py). None where nothing can be found.
    """
    for open_left in (LevelDatabase.open_remains, LevelDatabase.salvage):
        try:
            with closing(open_left(path)) as database:
                height = read_record(database, META + b"height")
                found = (
                    None if height is None else _header_in(database, decode_number(META + b"height", height))
                )
        except (DatabaseError, StoreError):
            continue
        if found is not None:
            return found
    return None


class ReadView:
    """One version of the store: state, tip and certificate belong together."""

    def __init__(self, reader: Reader, top_pages: Mapping[bytes, bytes]) -> None:
        self._reader = reader
        self._top_pages = top_pages
        self._state = state_in_use(reader)
        self._value_table, self._page_table = STATE_TABLES[self._state]

    def find_value(self, key: bytes) -> bytes | None:
        """Return a leaf's value."""
        return read_record(self._reader, self._value_table + key)

    def load_page(self, path: bytes) -> bytes | None:
        """Return a page of the state tree."""
        return self._top_pages.get(path) if is_top_page(path) else self._stored_page(path)

    def tip(self) -> Tip:
        """Return the finalized tip of this version."""
        height = self._tip_height()
        encoded_header = _header_in(self._reader, height)
        if encoded_header is None:
            raise damaged(HEADER + number_key(height), "nothing")
        key = META + b"history"
        history = decode_record(_decode_frontier, key, self._require(key))
        if history.size != height + 1:
            raise damaged(key, f"the history of {history.size} blocks below and at height {height}")
        return Tip(encoded_header, self, history)

    def tip_certificate(self) -> QuorumCertificate | None:
        """Return the certificate of the tip; None for genesis."""
        return _certificate_in(self._reader, self._tip_height())

    def _stored_page(self, path: bytes) -> bytes | None:
        return read_record(self._reader, self._page_table + path)

    def _tip_height(self) -> int:
        key = META + b"height"
        return decode_number(key, self._require(key))

    def _require(self, key: bytes) -> bytes:
        value = read_record(self._reader, key)
        if value is None:
            raise damaged(key, "nothing")
        return value


class Store(ReadView):
    """The open store. It is the state of the finalized tip. Not for use from two threads at once."""

    def __init__(self, database: Database) -> None:
        """Use `Store.open`."""
        super().__init__(database, {})
        self._database = database
        self._pages = Recent(PAGES_CACHED_MAX)
        self._values = Recent(VALUES_CACHED_MAX)
        self._tip: Tip | None = None
        self._failure: str | None = None

    @classmethod
    def open(cls, path: Path, genesis: Genesis) -> "Store":
        """Open the store of a chain, or create it with block 0. Raises StoreError."""
        try:
            database = LevelDatabase.open(path)
        except DatabaseLocked as error:
            cure = "Stop the node that runs on this home, or ask it through --url."
            raise StoreError(
                expected=f"{path} to be free", found="another process that holds it", cure=cure
            ) from error
        except DatabaseRefused as error:
            raise refused(error) from error
        except DatabaseError as error:
            raise StoreDamaged(expected=f"a readable database in {path}", found=str(error)) from error
        except OSError as error:
            cure = CURES.get(error.errno or 0, "Check the path and who owns it.")
            family = StoreRefused if is_disk_fault(error.errno) else StoreError
            raise family(
                expected=f"a directory {path}", found=error.strerror or "an error", cure=cure
            ) from error
        return cls.over(database, genesis)

    @classmethod
    def over(cls, database: Database, genesis: Genesis) -> "Store":
        """Open the store that a database holds, or create it with block 0. Raises StoreError.

        The database belongs to the store from here on, and is closed where the store cannot be opened.
        """
        try:
            store = cls(database)
            store._begin(genesis)
            store._top_pages = read_top_pages(database, store._value_table, store._page_table)
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
        found = read_record(self._database, META + b"chain")
        if found is None:
            with closing(self._scan(b"")) as records:
                if next(records, None) is not None:
                    raise StoreDamaged(expected="a chain id", found="records without one")
            start = genesis_block(genesis.content)
            batch = WriteBatch()
            batch.put(META + b"chain", chain_id)
            batch.put(META + b"schema", SCHEMA_VERSION)
            self._put_block(batch, start, Frontier())
            self._put_tip(batch, start)
            self._write(batch)
            return
        if found != chain_id:
            raise StoreOfAnotherChain(expected=chain_id, found=found)
        key = META + b"schema"
        schema = read_record(self._database, key)
        if schema is None or not schema.isdigit():
            raise damaged(key, "nothing" if schema is None else "no number")
        if schema != SCHEMA_VERSION:
            raise StoreOfAnotherVersion(version=int(schema))

    def _stored_tip(self) -> Tip:
        stored = super().tip()
        return Tip(stored.encoded_header, self, stored.history)

    # -- the finalized tip ------------------------------------------------------------------------------

    def tip(self) -> Tip:
        """Return the finalized tip."""
        assert self._tip is not None, "an open store has a tip"
        return self._tip

    def load_page(self, path: bytes) -> bytes | None:
        """Return a page of the state tree, from memory where it is always or was used lately."""
        return self._top_pages.get(path) if is_top_page(path) else self._pages.get(path, self._stored_page)

    def find_value(self, key: bytes) -> bytes | None:
        """Return a leaf's value, from memory where it was asked for lately."""
        return self._values.get(key, super().find_value)

    def commit(self, executed: Sequence[Executed], certificate: QuorumCertificate | None) -> None:
        """Make blocks that follow the tip final, in one synced batch; the certificate finalizes the last.

        It is None where the last stands by the history of a certified block that is not here yet.
        Raises StoreError where the disk fails; the store then takes nothing more.
        """
        self._require_usable()
        self._check_follows(executed, certificate)
        history = self.tip().history
        batch = WriteBatch()
        for each in executed:
            self._put_block(batch, each, history)
            history = each.history
        last = executed[-1]
        if certificate is not None:
            batch.put(CERTIFICATE + number_key(last.block.header.height), pack(certificate))
        self._put_tip(batch, last)
        for key in self._pending_keys(last.block.header.height):
            batch.delete(key)
        self._write(batch)
        for each in executed:
            self._top_pages = grown_top_pages(self._top_pages, each.overlay.pages)
            self._pages.put(stored_pages(each.overlay.pages))
            self._values.replace(each.overlay.values)
        self._tip = Tip(last.block.encoded_header, self, last.history)

    def _check_follows(self, executed: Sequence[Executed], certificate: QuorumCertificate | None) -> None:
        assert executed, "a commit holds blocks"
        before = self.tip().encoded_header
        for each in executed:
            assert each.block.header.height == before.header.height + 1, "blocks are committed in order"
            assert each.block.header.parent_hash == before.hash, "blocks are committed on their parents"
            before = each.block.encoded_header
        if certificate is None:
            assert not before.header.is_seal, "a seal has its own finalization"
            return
        subject = certificate.subject
        assert subject.kind == FINALIZE, "only a finalization makes a block final"
        assert subject.block_hash == before.hash, "the certificate finalizes the last block"
        # Later than the header's for a seal that was proposed again.
        assert subject.view >= before.header.view, "the certificate is of the block's view"

    def _put_block(self, batch: WriteBatch, executed: Executed, history: Frontier) -> None:
        block = executed.block
        height = number_key(block.header.height)
        batch.put(HEADER + height, block.encoded_header.encoded)
        batch.put(HEIGHT + block.hash, height)
        for index, transaction in enumerate(block.transactions):
            place = height + number_key(index)
            batch.put(TRANSACTION + place, transaction.encoded)
            batch.put(LOCATION + transaction.id, place)
        for key, value in executed.overlay.values.items():
            batch.put(self._value_table + key, value)
        if block.header.is_seal:
            following = require_validators(executed.overlay).current
            batch.put(SEAL + number_key(block.header.epoch), height + pack(following))
        for path, page in stored_pages(executed.overlay.pages).items():
            if page is None:
                batch.delete(self._page_table + path)
            else:
                batch.put(self._page_table + path, page)
        after, nodes = history.append(block.hash)
        assert after == executed.history, "an executed block carries the history that its children extend"
        for node in nodes:
            batch.put(NODE + bytes([node.level]) + number_key(node.index), node.hash)

    @staticmethod
    def _put_tip(batch: WriteBatch, executed: Executed) -> None:
        batch.put(META + b"height", number_key(executed.block.header.height))
        batch.put(META + b"history", pack(executed.history))

    # -- unfinalized blocks -----------------------------------------------------------------------------

    def put_pending(self, height: int, block_hash: bytes, encoded: bytes) -> None:
        """Keep a block that is not final, durably. Raises StoreError where the disk fails."""
        self._require_usable()
        batch = WriteBatch()
        batch.put(PENDING + number_key(height) + block_hash, encoded)
        self._write(batch)

    def pending(self) -> Iterator[bytes]:
        """Iterate over the blocks that are kept and not final, lowest first."""
        return (encoded for _, encoded in self._scan(PENDING))

    def _pending_keys(self, height_max: int) -> list[bytes]:
        stop = PENDING + number_key(height_max + 1)
        with reading(PENDING), closing(self._database.iterate(PENDING, stop)) as found:
            return [key for key, _ in found]

    # -- lookups ----------------------------------------------------------------------------------------

    def find_header(self, height: int) -> EncodedHeader | None:
        """Return the header at a height."""
        return _header_in(self._database, height)

    def find_height(self, block_hash: bytes) -> int | None:
        """Return the height of a final block."""
        key = HEIGHT + block_hash
        found = read_record(self._database, key)
        return None if found is None else decode_number(key, found)

    def gap(self) -> tuple[int, int]:
        """Return the heights, from the first to before the second, whose blocks a snapshot stood in for.

        Equal where every block up to the tip is here.
        """
        key = META + b"gap"
        found = read_record(self._database, key)
        if found is None:
            return 0, 0
        return decode_number(key, found[:8]), decode_number(key, found[8:])

    def load_block(self, height: int) -> Block | None:
        """Return the block at a height; None where it is not held."""
        encoded_header = self.find_header(height)
        first, end = self.gap()
        if encoded_header is None or first <= height < end:
            return None
        transactions = tuple(
            decode_record(Transaction.decode, TRANSACTION + place, encoded)
            for place, encoded in self._scan(TRANSACTION, number_key(height))
        )
        return _whole_block(encoded_header, transactions)

    def walk(self) -> "Walk":
        """Read every block above genesis in order, for whoever reads them all. Raises as `walk_blocks` does."""
        return walk_blocks(self._database)

    def raw_block(self, height: int) -> tuple[EncodedHeader, tuple[bytes, ...]] | None:
        """Return a block's header and its transactions' bytes, unread: for whoever verifies them anyway."""
        encoded_header = self.find_header(height)
        first, end = self.gap()
        if encoded_header is None or first <= height < end or height > self.tip().header.height:
            return None
        return encoded_header, tuple(encoded for _, encoded in self._scan(TRANSACTION, number_key(height)))

    def find_transaction(self, transaction_id: bytes) -> tuple[int, int] | None:
        """Return height and index of a final transaction."""
        key = LOCATION + transaction_id
        place = read_record(self._database, key)
        if place is None:
            return None
        return decode_number(key, place[:8]), decode_number(key, place[8:])

    def find_certificate(self, height: int) -> QuorumCertificate | None:
        """Return the certificate of a block that was finalized directly."""
        return _certificate_in(self._database, height)

    def next_certificate(self, height: int) -> tuple[int, QuorumCertificate] | None:
        """Return the lowest directly finalized height at or above one, with its certificate."""
        start, stop = CERTIFICATE + number_key(height), CERTIFICATE + b"\xff" * 9
        with reading(CERTIFICATE), closing(self._database.iterate(start, stop)) as found:
            for key, encoded in found:
                return decode_number(key, key[1:]), decode_record(_decode_certificate, key, encoded)
        return None

    def find_handover(self, epoch: int) -> Handover | None:
        """Return how an epoch ended: its finalized seal, and the set that it names. None while it lasts."""
        key = SEAL + number_key(epoch)
        found = read_record(self._database, key)
        if found is None:
            return None
        height = decode_number(key, found[:8])
        encoded_header, certificate = self.find_header(height), self.find_certificate(height)
        if encoded_header is None or certificate is None:
            raise damaged(key, f"no finalized block at height {height}")
        following = decode_record(_decode_validators, key, found[8:])
        return Handover(FinalizedHeader(encoded_header.encoded, certificate), following)

    def load_history_node(self, level: int, index: int) -> bytes:
        """Return a complete subtree's hash of the history tree (a merkle.LoadNode)."""
        return self._require(NODE + bytes([level]) + number_key(index))

    def values(self) -> Generator[tuple[bytes, bytes], None, None]:
        """Iterate over all leaves, as (state key, value)."""
        return self._scan(self._value_table)

    def pages(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over all pages, as (path, page): the top pages's first."""
        yield from self._top_pages.items()
        yield from self._scan(self._page_table)

    # -- installing a snapshot --------------------------------------------------------------------------

    def staging(self) -> StagingState:
        """Return the state tables that are not in use."""
        return StagingState(self._database, STATE_TABLES[1 - self._state], self._write)

    def install(
        self,
        staging: StagingState,
        description: Description,
        certificate: QuorumCertificate | None,
        handovers: Sequence[Handover],
    ) -> None:
        """Make a rebuilt state the one in use, and its block the tip, in one synced batch. Raises LedgerError.

        The caller has verified the header: by `certificate`, or by the history of a certified block (None).
        `handovers` end the epochs below the header's.
        """
        self._require_usable()
        encoded_header = description.check()
        staging.rebuilding.check(description)
        before = self.tip().header.height
        assert encoded_header.header.height > before, "a snapshot is above the tip"
        batch = WriteBatch()
        history = self._put_snapshot_block(batch, encoded_header, description.history, certificate)
        for handover in handovers:
            self._put_seal(batch, EncodedHeader.decode(handover.seal.header), handover)
        if encoded_header.header.is_seal:
            following = require_validators(staging).current
            place = number_key(encoded_header.header.height)
            batch.put(SEAL + number_key(encoded_header.header.epoch), place + pack(following))
        first, end = self.gap()
        begin = first if first < end else before + 1
        batch.put(META + b"gap", number_key(begin) + number_key(encoded_header.header.height + 1))
        batch.put(META + b"state", number_key(1 - self._state))
        batch.put(META + b"height", number_key(encoded_header.header.height))
        batch.put(META + b"history", pack(history))
        for key in self._pending_keys(encoded_header.header.height):
            batch.delete(key)
        self._write(batch)
        self._state = 1 - self._state
        self._value_table, self._page_table = STATE_TABLES[self._state]
        self._top_pages = staging.top_pages
        self._pages.clear()
        self._values.clear()
        self._tip = Tip(encoded_header, self, history)

    @staticmethod
    def _put_snapshot_block(
        batch: WriteBatch,
        encoded_header: EncodedHeader,
        below: Frontier,
        certificate: QuorumCertificate | None,
    ) -> Frontier:
        height = number_key(encoded_header.header.height)
        batch.put(HEADER + height, encoded_header.encoded)
        batch.put(HEIGHT + encoded_header.hash, height)
        if certificate is not None:
            batch.put(CERTIFICATE + height, pack(certificate))
        history, completed = below.append(encoded_header.hash)
        for node in (*below.nodes(), *completed):
            batch.put(NODE + bytes([node.level]) + number_key(node.index), node.hash)
        return history

    @staticmethod
    def _put_seal(batch: WriteBatch, encoded_header: EncodedHeader, handover: Handover) -> None:
        height = number_key(encoded_header.header.height)
        batch.put(HEADER + height, encoded_header.encoded)
        batch.put(HEIGHT + encoded_header.hash, height)
        batch.put(CERTIFICATE + height, pack(handover.seal.certificate))
        batch.put(SEAL + number_key(encoded_header.header.epoch), height + pack(handover.next_validators))

    @contextmanager
    def read_view(self) -> Iterator[ReadView]:
        """Read one version, whatever is committed meanwhile."""
        with self._database.read_view() as version:
            yield ReadView(version, self._top_pages)

    def _scan(self, table: bytes, prefix: bytes = b"") -> Generator[tuple[bytes, bytes], None, None]:
        return _scan(self._database, table, prefix)

    def _require_usable(self) -> None:
        if self._failure is not None:
            raise StoreError(
                expected="a store that takes writes", found=self._failure, cure="Restart the node."
            )

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._database.write(batch, is_synced=True)
        except DatabaseError as error:
            self._failure = f"an earlier failed write: {error}"
            if isinstance(error, DatabaseRefused):
                raise refused(error) from error
            cure = "Check the disk (space, permissions, errors), then restart the node."
            raise StoreError(expected="a durable write", found=str(error), cure=cure) from error
