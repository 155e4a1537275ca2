"""Snapshots: the same bytes on every node, and nothing but the state of the block can be rebuilt from them."""

import dataclasses
import importlib
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from ledger.chain.overlays import Executed
from ledger.chain.snapshots import (
    SNAPSHOT_INTERVAL,
    AnyLeaf,
    Description,
    Rebuilding,
    SnapshotError,
    check_chunk,
    decode_chunk,
    encode_chunks,
    is_snapshot_height,
)
from ledger.encoding.records import pack, unpack
from ledger.errors import LedgerError
from ledger.rules.certificates import FINALIZE, VOTE_TAGS, QuorumCertificate, SignedBy, Subject
from ledger.rules.state import require_validators
from ledger.trees.merkle import Frontier, Tree, tree_root
from ledger.trees.statepages import check_pages
from ledger.trees.statetree import EMPTY
from node.chain.chain import Chain
from node.errors import StoreError
from node.messages import FinalBlocks, NotHeld, WantFinal
from node.storage.database import Database, DatabaseError, WriteBatch
from node.storage.leveldb import LevelDatabase
from node.storage.snapshotstore import KEPT_MAX, Entry, SnapshotStore, SnapshotStoreError
from node.storage.store import Store
from node.sync.making import SnapshotMaker
from node.sync.server import SyncServer
from tests.support.node_world import START_MS, VALIDATORS, anchor_transaction, make_genesis, private_key
from tests.support.sources import ROOT, module_of

GENESIS = make_genesis()
LEDGER = ROOT / "ledger"
INTERVAL = 4
CHUNK_SIZE = 700


def certify(executed: Executed) -> QuorumCertificate:
    header = executed.block.header
    subject = Subject(FINALIZE, 0, header.view, header.view - 1, executed.block.hash)
    body = subject.body(GENESIS.content.chain_id)
    signed = (
        SignedBy(index, private_key(f"{member} validator").sign(VOTE_TAGS[FINALIZE], body))
        for index, member in enumerate(VALIDATORS[:3])
    )
    return QuorumCertificate(subject, tuple(signed))


class Disk:
    """One node's two databases, with the maker over them."""

    def __init__(self, path: Path, *, interval: int = INTERVAL) -> None:
        self.path = path
        self.store = Store.open(path / "chain", GENESIS)
        self.snapshot_database = LevelDatabase.open(path / "snapshots")
        self.snapshot_store = SnapshotStore(self.snapshot_database)
        self.maker = SnapshotMaker(self.store, self.snapshot_store, interval=interval, chunk_size=CHUNK_SIZE)
        self.chain = Chain(self.store)

    def grow(self, count: int, *, batch: int = 1) -> list[Executed]:
        """Make blocks of anchors final, `batch` of them under one certificate."""
        path: list[Executed] = []
        final: list[Executed] = []
        for _ in range(count):
            parent = path[-1].tip() if path else self.chain.tip
            height = parent.header.height + 1
            view = parent.header.view + 1
            transactions = [anchor_transaction(GENESIS, 10 * height + each, START_MS) for each in range(3)]
            built = self.chain.build(
                parent.encoded_header.hash,
                transactions,
                view=view,
                proposer=VALIDATORS[view % 4],
                now_ms=START_MS + height,
            )
            assert built is not None and not built[1]
            path.append(built[0])
            if len(path) == batch:
                self.commit(path)
                final += path
                path = []
        if path:
            self.commit(path)
        return final + path

    def commit(self, path: list[Executed]) -> None:
        self.maker.before_commit(path)
        self.chain.commit(certify(path[-1]))

    def finish(self) -> Description:
        while self.maker.step():
            pass
        newest = self.snapshot_store.newest()
        assert newest is not None
        return newest.description

    def chunks(self, description: Description) -> list[bytes]:
        entry = self.snapshot_store.find(description.encoded_header().header.height)
        assert entry is not None
        found = [self.snapshot_store.load_raw(entry, index) for index in range(description.chunks_count)]
        return [chunk for chunk in found if chunk is not None]

    def close(self) -> None:
        self.maker.close()
        self.snapshot_store.close()
        self.store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with closing(Disk(tmp_path / "first")) as disk:
        yield disk


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Disk]:
    with closing(Disk(tmp_path / "other")) as disk:
        yield disk


def install(disk: Disk, description: Description, chunks: list[bytes]) -> None:
    staging = disk.store.staging()
    while staging.clear():
        pass
    for chunk in chunks:
        staging.add(decode_chunk(chunk))
    disk.store.install(staging, description, None, ())


# Making


def test_only_multiples_of_the_interval_above_genesis_are_snapshots() -> None:
    assert [height for height in range(13) if is_snapshot_height(height, 4)] == [4, 8, 12]
    assert is_snapshot_height(SNAPSHOT_INTERVAL)
    assert not is_snapshot_height(SNAPSHOT_INTERVAL - 1)


def test_nodes_that_commit_in_other_batches_make_the_same_snapshot(disk: Disk, other: Disk) -> None:
    disk.grow(6)
    other.grow(6, batch=6)
    first, second = disk.finish(), other.finish()
    assert first == second
    assert first.encoded_header().header.height == 4
    assert first.chunks_count > 3
    assert disk.chunks(first) == other.chunks(second)


def test_a_snapshot_is_of_its_block_whatever_becomes_final_while_it_is_made(disk: Disk, other: Disk) -> None:
    disk.grow(4)
    assert disk.maker.is_busy
    disk.maker.step()
    disk.grow(3)
    while disk.maker.step():
        disk.grow(1) if disk.chain.tip.header.height < 7 else None
    other.grow(4)
    assert disk.finish() == other.finish()


def test_a_snapshot_due_while_one_is_made_is_left_out(disk: Disk) -> None:
    disk.grow(9)
    assert disk.finish().encoded_header().header.height == 4
    disk.grow(3)
    assert disk.finish().encoded_header().header.height == 12


def test_the_newest_two_are_kept_and_what_is_older_is_swept_away(disk: Disk) -> None:
    for _ in range(4):
        disk.grow(INTERVAL)
        disk.finish()
    assert [disk.snapshot_store.find(height) is not None for height in (4, 8, 12, 16)] == [
        False,
        False,
        True,
        True,
    ]
    while disk.snapshot_store.sweep():
        pass
    newest, older = disk.snapshot_store.find(16), disk.snapshot_store.find(12)
    assert newest is not None and older is not None
    chunks = [key for key, _ in disk.snapshot_database.iterate(b"C", b"D")]
    assert len(chunks) == newest.description.chunks_count + older.description.chunks_count
    assert KEPT_MAX == 2


def test_a_snapshot_that_a_crash_cut_short_leaves_strays_and_the_whole_ones(tmp_path: Path) -> None:
    with closing(Disk(tmp_path)) as disk:
        disk.grow(4)
        whole = disk.finish()
        disk.grow(4)
        disk.maker.step()
        disk.maker.step()
    with closing(Disk(tmp_path)) as again:
        newest = again.snapshot_store.newest()
        assert newest is not None and newest.description == whole
        assert again.snapshot_store.sweep()
        while again.snapshot_store.sweep():
            pass
        assert len(list(again.snapshot_database.iterate(b"C", b"D"))) == whole.chunks_count
        again.grow(4)
        assert again.finish().encoded_header().header.height == 12


def test_a_full_disk_ends_the_snapshot_and_not_the_node(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(batch: WriteBatch, *, is_synced: bool) -> None:
        raise DatabaseError("no space left")

    disk.grow(4)
    monkeypatch.setattr(disk.snapshot_database, "write", refuse)
    assert not disk.maker.step()
    monkeypatch.undo()
    assert disk.snapshot_store.newest() is None
    disk.grow(4)
    assert disk.finish().encoded_header().header.height == 8


# Content


@pytest.mark.parametrize("seed", range(8))
def test_any_state_comes_back_from_its_chunks_whatever_their_size(tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    with closing(Disk(tmp_path / "a", interval=5)) as disk, closing(Disk(tmp_path / "b")) as fresh:
        disk.grow(5, batch=source.randrange(1, 6))
        state = list(disk.store.values())
        chunks = list(encode_chunks((value for _, value in state), size=source.randrange(1, 5_000)))
        assert [leaf for chunk in chunks for leaf in decode_chunk(chunk)] == state
        install(fresh, disk.finish(), chunks)
        assert list(fresh.store.values()) == state
        assert sorted(fresh.store.pages()) == sorted(disk.store.pages())
        root = disk.chain.tip.header.state_root
        check_pages(fresh.store, root, [path for path, _ in fresh.store.pages()])


def test_every_kind_of_leaf_can_lie_in_a_snapshot() -> None:
    kinds = {
        value
        for path in LEDGER.rglob("*.py")
        for value in vars(importlib.import_module(module_of(path))).values()
        if dataclasses.is_dataclass(value) and hasattr(value, "state_key")
    }
    assert kinds == set(get_args(AnyLeaf))


def rebuild(description: Description, chunks: list[bytes]) -> None:
    """What a node does with a snapshot that somebody gave it."""
    pages: dict[bytes, bytes | None] = {}

    class Pages:
        def load_page(self, path: bytes) -> bytes | None:
            return pages.get(path)

    description.check()
    rebuilding = Rebuilding(EMPTY)
    for chunk in chunks:
        pages.update(rebuilding.add(Pages(), decode_chunk(chunk)).pages)
    rebuilding.check(description)


@pytest.mark.slow
def test_every_flipped_bit_of_a_small_snapshot_is_refused(disk: Disk) -> None:
    disk.grow(4)
    description = disk.finish()
    tree = Tree(disk.chunks(description))
    chunks = disk.chunks(description)
    trusted = description.encoded_header().hash
    rebuild(description, chunks)
    encoded = pack(description)
    for bit in range(8 * len(encoded)):
        flipped = bytearray(encoded)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        try:
            other = unpack(Description, bytes(flipped))
            is_taken = other.check().hash == trusted  # the certificate is over this hash
            taken = chunks[: other.chunks_count]
            rebuild(other, taken)
            is_complete = len(taken) == other.chunks_count and tree_root(taken) == other.chunks_root
            assert not (is_complete and is_taken), f"bit {bit} of the description"
        except LedgerError:
            continue
    index = len(chunks) // 2
    siblings = tree.path(index).siblings
    for bit in range(8 * len(chunks[index])):
        changed = bytearray(chunks[index])
        changed[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(LedgerError):
            check_chunk(description, index, bytes(changed), siblings)
        if bit % 7 == 0:  # and without the root, by the state itself
            with pytest.raises(LedgerError):
                rebuild(description, [*chunks[:index], bytes(changed), *chunks[index + 1 :]])


def test_chunks_that_are_missing_doubled_swapped_or_of_another_state_are_refused(
    disk: Disk, other: Disk
) -> None:
    disk.grow(4)
    other.grow(3)
    description, chunks = disk.finish(), disk.chunks(disk.finish())
    foreign = list(encode_chunks((value for _, value in other.store.values()), size=CHUNK_SIZE))
    for wrong in (
        chunks[:-1],
        chunks[1:],
        [*chunks, chunks[-1]],
        [chunks[1], chunks[0], *chunks[2:]],
        foreign,
        [],
    ):
        with pytest.raises(LedgerError):
            rebuild(description, wrong)


def test_a_frontier_of_another_history_is_refused(disk: Disk) -> None:
    disk.grow(4)
    description = disk.finish()
    longer, _ = description.history.append(bytes(32))
    for wrong in (longer, Frontier(), Frontier(4, (bytes(32),))):
        with pytest.raises(LedgerError):
            replace(description, history=wrong).check()
    with pytest.raises(SnapshotError):
        rebuild(replace(description, leaves_count=description.leaves_count + 1), disk.chunks(description))


# Installing


def test_an_installed_state_proves_and_extends_like_any_other(disk: Disk, other: Disk) -> None:
    blocks = disk.grow(7)
    description = disk.finish()
    install(other, description, disk.chunks(description))
    chain = Chain(other.store)
    assert chain.tip.header == blocks[3].block.header
    assert other.store.gap() == (1, 5)
    assert other.store.load_block(3) is None
    assert other.store.load_block(4) is None
    assert other.store.load_block(0) is not None
    for executed in blocks[4:]:
        other.store.commit([executed], certify(executed))
    assert other.store.tip().encoded_header == disk.store.tip().encoded_header
    assert list(other.store.values()) == list(disk.store.values())
    assert require_validators(other.store) == require_validators(disk.store)
    assert other.store.load_block(6) == blocks[5].block


def test_a_recorded_transaction_is_refused_by_the_state_of_a_snapshot(disk: Disk, other: Disk) -> None:
    blocks = disk.grow(4)
    description = disk.finish()
    transaction = blocks[1].block.transactions[0]
    # What the store remembers of the state that it had.
    Chain(other.store).check_transaction(transaction, START_MS + 10)
    install(other, description, disk.chunks(description))
    chain = Chain(other.store)
    assert other.store.find_transaction(transaction.id) is None
    with pytest.raises(LedgerError) as refusal:
        chain.check_transaction(transaction, START_MS + 10)
    assert refusal.value.code == "already-recorded"
    executed, refused = chain.build(  # type: ignore[misc]
        chain.tip.encoded_header.hash, [transaction], view=9, proposer=VALIDATORS[1], now_ms=START_MS + 10
    )
    assert not executed.block.transactions
    assert [error.code for _, error in refused] == ["already-recorded"]


def test_an_installed_state_is_there_after_a_restart_and_the_old_one_can_be_cleared(
    disk: Disk, tmp_path: Path
) -> None:
    disk.grow(4)
    description = disk.finish()
    with closing(Disk(tmp_path / "target")) as target:
        target.grow(2)
        install(target, description, disk.chunks(description))
        assert target.store.gap() == (3, 5)
        assert target.store.load_block(2) is not None
    with closing(Disk(tmp_path / "target")) as again:
        assert again.store.tip().encoded_header == disk.store.tip().encoded_header
        staging = again.store.staging()
        assert staging.clear()
        while staging.clear():
            pass
        assert list(again.store.values()) == list(disk.store.values())
        again.grow(1)


def test_a_state_that_is_not_the_headers_is_never_installed(disk: Disk, other: Disk) -> None:
    disk.grow(4)
    description = disk.finish()
    before, tip = list(other.store.values()), other.store.tip()
    with pytest.raises(SnapshotError):
        install(other, description, disk.chunks(description)[:-1])
    assert (list(other.store.values()), other.store.tip(), other.store.gap()) == (before, tip, (0, 0))


class CutPower(BaseException):
    """The power went."""


def cutting_at(step: int) -> Callable[..., None]:
    """Return a write that cuts the power instead of the write of that number."""
    numbers, write = itertools.count(), LevelDatabase.write

    def cut(database: LevelDatabase, batch: WriteBatch, *, is_synced: bool) -> None:
        if next(numbers) == step:
            raise CutPower
        write(database, batch, is_synced=is_synced)

    return cut


def test_power_cut_at_every_write_of_an_installation_leaves_the_old_state_or_the_new(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.grow(4)
    description = disk.finish()
    chunks = disk.chunks(description)
    genesis = make_tip_hash(tmp_path / "untouched")
    seen = set()
    for step in range(40):
        path = tmp_path / f"cut-{step}"
        target = Disk(path)
        monkeypatch.setattr(LevelDatabase, "write", cutting_at(step))
        is_cut = False
        try:
            install(target, description, chunks)
        except CutPower:
            is_cut = True
        finally:
            monkeypatch.undo()
            target.close()
        with closing(Disk(path)) as again:
            tip = again.store.tip()
            seen.add(tip.encoded_header.hash)
            assert tip.encoded_header.hash in (genesis, description.encoded_header().hash)
            check_pages(again.store, tip.header.state_root, [page for page, _ in again.store.pages()])
            if is_cut:
                install(again, description, chunks)
            assert again.store.tip().encoded_header.hash == description.encoded_header().hash
        if not is_cut:
            break
    assert not is_cut
    assert seen == {genesis, description.encoded_header().hash}


def make_tip_hash(path: Path) -> bytes:
    with closing(Disk(path)) as disk:
        return disk.store.tip().encoded_header.hash


# Serving


def test_blocks_are_served_within_count_and_bytes_but_at_least_one(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [each.block for each in disk.grow(4)]
    sizes = [len(b.encoded_header.encoded) + sum(len(t.encoded) for t in b.transactions) for b in blocks]
    serving = SyncServer(disk.chain, disk.snapshot_store)

    def served(count: int, size_max: int) -> int:
        monkeypatch.setattr("node.sync.server.CATCH_UP_SIZE_MAX", size_max)
        answer = serving.answer("x", WantFinal(1, count), 0)
        assert isinstance(answer, FinalBlocks)
        return len(answer.blocks)

    assert served(3, 10**6) == 3
    assert served(4, sum(sizes[:2])) == 2
    assert served(4, sum(sizes[:2]) - 1) == 1
    assert served(4, 0) == 1
    assert isinstance(serving.answer("x", WantFinal(5, 4), 0), NotHeld)


# The snapshot store


def test_what_was_fetched_is_found_again_after_a_restart(disk: Disk, tmp_path: Path) -> None:
    disk.grow(4)
    description = disk.finish()
    chunks = disk.chunks(description)
    with closing(Disk(tmp_path / "again")) as fetching:
        entry = fetching.snapshot_store.begin_fetch(description)
        fetching.snapshot_store.put_fetched(entry, 2, chunks[2])
        fetching.snapshot_store.put_fetched(entry, 0, chunks[0])
    with closing(Disk(tmp_path / "again")) as again:
        found = again.snapshot_store.fetching
        assert found is not None and found.description == description
        assert again.snapshot_store.fetched(found) == {0, 2}
        assert again.snapshot_store.load_raw(found, 2) == chunks[2]
        again.snapshot_store.drop_chunk(found, 2)
        assert again.snapshot_store.fetched(found) == {0}
        again.snapshot_store.drop_fetch()
        while again.snapshot_store.sweep():
            pass
        assert not list(again.snapshot_database.iterate(b"", None))


def test_a_whole_snapshot_serves_each_chunk_with_its_path(disk: Disk) -> None:
    disk.grow(4)
    description = disk.finish()
    entry = disk.snapshot_store.find(4)
    assert entry is not None
    for index in range(description.chunks_count):
        found = disk.snapshot_store.load_chunk(entry, index)
        assert found is not None
        check_chunk(description, index, found[0], found[1])
        with pytest.raises(LedgerError):
            check_chunk(description, (index + 1) % description.chunks_count, found[0], found[1])
    assert disk.snapshot_store.load_chunk(entry, description.chunks_count) is None
    assert disk.snapshot_store.load_chunk(Entry(99, description), 0) is None


def test_a_damaged_entry_is_not_held(disk: Disk) -> None:
    disk.grow(4)
    disk.finish()
    batch = WriteBatch()
    batch.put(b"S" + (4).to_bytes(8, "big"), b"\x93")
    batch.put(b"F", b"\x93")
    database: Database = disk.snapshot_database
    database.write(batch, is_synced=True)
    snapshot_store = SnapshotStore(database)
    assert snapshot_store.newest() is None
    assert snapshot_store.fetching is None


def test_a_store_that_says_unknown_state_tables_is_damaged(tmp_path: Path) -> None:
    Store.open(tmp_path / "chain", GENESIS).close()
    with closing(LevelDatabase.open(tmp_path / "chain")) as database:
        batch = WriteBatch()
        batch.put(b"Mstate", (7).to_bytes(8, "big"))
        database.write(batch, is_synced=True)
    with pytest.raises(StoreError, match="state tables 7"):
        Store.open(tmp_path / "chain", GENESIS)
    with pytest.raises(StoreError, match="state tables 7"):
        Store.open(tmp_path / "chain", GENESIS)


def test_a_snapshot_store_that_cannot_be_read_says_so(disk: Disk) -> None:
    class Broken:
        def iterate(self, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
            raise DatabaseError("bad blocks")

    with pytest.raises(SnapshotStoreError, match="bad blocks"):
        SnapshotStore(Broken())  # type: ignore[arg-type]
