"""The store: whole blocks or none, checked on every read, refusing what it cannot be."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.chain.overlays import Executed
from ledger.genesis import Genesis, sign_genesis
from ledger.rules.certificates import FINALIZE, VOTE_TAGS, QuorumCertificate, SignedBy, Subject
from ledger.trees.merkle import inclusion_path_from_nodes, verify_inclusion
from ledger.trees.statepages import check_pages, prove
from ledger.trees.statetree import InclusionProof, verify_present
from node.chain.chain import Chain
from node.errors import StoreError
from node.storage import store as store_module
from node.storage import toppages as top_pages
from node.storage.database import DatabaseError, WriteBatch
from node.storage.leveldb import LevelDatabase, plyvel
from node.storage.store import SCHEMA_VERSION, Store
from node.storage.tables import number_key
from tests.support.node_world import START_MS, VALIDATORS, anchor_transaction, make_genesis, private_key
from tests.support.sources import ROOT

GENESIS = make_genesis()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store.open(path, GENESIS)
    yield store
    store.close()


def certify(executed: Executed) -> QuorumCertificate:
    header = executed.block.header
    subject = Subject(FINALIZE, 0, header.view, header.view - 1, executed.block.hash)
    body = subject.body(GENESIS.content.chain_id)
    signed = (
        SignedBy(index, private_key(f"{member} validator").sign(VOTE_TAGS[FINALIZE], body))
        for index, member in enumerate(VALIDATORS[:3])
    )
    return QuorumCertificate(subject, tuple(signed))


def build(chain: Chain, number: int) -> Executed:
    view = chain.tip.header.view + 1
    built = chain.build(
        chain.tip.encoded_header.hash,
        [anchor_transaction(GENESIS, number, START_MS)],
        view=view,
        proposer=VALIDATORS[view % 4],
        now_ms=START_MS + number,
    )
    assert built is not None
    executed, refused = built
    assert not refused
    return executed


def grow(store: Store, count: int) -> list[Executed]:
    chain = Chain(store)
    path = []
    for number in range(1, count + 1):
        executed = build(chain, number)
        chain.commit(certify(executed))
        path.append(executed)
    return path


def other_genesis() -> Genesis:
    keys = {member: private_key(f"{member} member") for member in VALIDATORS}
    return sign_genesis(replace(GENESIS.content, network="other"), keys)


def test_a_new_store_starts_with_block_0(store: Store) -> None:
    assert store.tip().header.height == 0
    assert store.tip_certificate() is None
    assert store.find_height(store.tip().encoded_header.hash) == 0


def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    store = Store.open(path, GENESIS)
    blocks = grow(store, 5)
    before = store.tip()
    store.close()
    again = Store.open(path, GENESIS)
    try:
        assert again.tip().encoded_header == before.encoded_header
        assert again.tip().history == before.history
        certificate = again.tip_certificate()
        assert certificate is not None
        certificate.verify(GENESIS.content.chain_id, GENESIS.content.validators)
        assert [again.load_block(n + 1) for n in range(5)] == [each.block for each in blocks]
        assert check_pages(again, before.header.state_root, (path for path, _ in again.pages())) > 0
    finally:
        again.close()


def test_a_final_transaction_is_found_by_its_id(store: Store) -> None:
    blocks = grow(store, 3)
    transaction = blocks[1].block.transactions[0]
    assert store.find_transaction(transaction.id) == (2, 0)
    assert store.find_transaction(bytes(32)) is None


def test_a_snapshot_is_one_version_whatever_is_committed_meanwhile(store: Store) -> None:
    (first,) = grow(store, 1)
    key = next(iter(first.overlay.values))
    with store.read_view() as snapshot:
        grow_more = Chain(store)
        grow_more.commit(certify(build(grow_more, 77)))
        assert snapshot.tip().header.height == 1
        root = snapshot.tip().header.state_root
        proof, value = prove(snapshot, root, key), snapshot.find_value(key)
        assert value is not None
        assert isinstance(proof, InclusionProof)
        verify_present(root, key, value, proof)
    assert store.tip().header.height == 2


def test_every_block_is_provable_under_the_newest_history_root(store: Store) -> None:
    grow(store, 6)
    tip = store.tip().header
    for height in range(tip.height):
        encoded_header = store.find_header(height)
        assert encoded_header is not None
        path = inclusion_path_from_nodes(height, tip.height, store.load_history_node)
        verify_inclusion(encoded_header.hash, path, size=tip.height, root=tip.history_root)


def test_blocks_that_are_not_final_survive_and_go_when_their_height_is_final(path: Path) -> None:
    store = Store.open(path, GENESIS)
    chain = Chain(store)
    executed = build(chain, 1)
    store.close()
    again = Store.open(path, GENESIS)
    try:
        assert len(list(again.pending())) == 1
        restored = Chain(again)
        candidate = restored.tree.find(executed.block.hash)
        assert candidate is not None
        restored.execute(candidate)
        restored.commit(certify(executed))
        assert list(again.pending()) == []
    finally:
        again.close()


def test_another_chain_is_refused_with_its_cure(path: Path) -> None:
    Store.open(path, GENESIS).close()
    with pytest.raises(StoreError, match=r"genesis\.json") as refused:
        Store.open(path, other_genesis())
    assert refused.value.expected != refused.value.found


def test_a_store_in_use_is_refused_and_names_the_other_route(store: Store, path: Path) -> None:
    assert store.tip().header.height == 0
    with pytest.raises(StoreError, match="--url"):
        Store.open(path, GENESIS)


def test_a_commit_that_does_not_follow_the_tip_is_our_own_fault(store: Store) -> None:
    chain = Chain(store)
    first = build(chain, 1)
    certificate = certify(first)
    store.commit([first], certificate)
    with pytest.raises(AssertionError, match="in order"):
        store.commit([first], certificate)
    assert store.tip().header.height == 1


def test_a_flipped_byte_in_a_table_is_an_error_and_never_a_missing_record(path: Path) -> None:
    store = Store.open(path, GENESIS)
    grow(store, 40)
    leveldb_of(store).compact_range()
    store.close()
    tables = sorted(path.glob("*.ldb"))
    assert tables, "the test needs a table on disk"
    source = random.Random(1)
    for _ in range(20):
        table = source.choice(tables)
        intact = table.read_bytes()
        place = source.randrange(len(intact) - 48)
        table.write_bytes(intact[:place] + bytes([intact[place] ^ 0x40]) + intact[place + 1 :])
        try:
            with pytest.raises(StoreError):
                read_everything(path)
        finally:
            table.write_bytes(intact)
    assert read_everything(path) == 41


def read_everything(path: Path) -> int:
    store = Store.open(path, GENESIS)
    try:
        list(store.values())
        list(store.pages())
        store.next_certificate(0)
        count = 0
        while store.load_block(count) is not None:
            count += 1
        list(store.pending())
        for _ in store._scan(b""):
            pass
        return count
    finally:
        store.close()


def leveldb_of(store: Store) -> plyvel.DB:
    """Return what LevelDB opened for a store."""
    assert isinstance(store._database, LevelDatabase)
    return store._database._database


class FullDisk(LevelDatabase):
    """A database that takes no writes."""

    def __init__(self, database: LevelDatabase) -> None:
        super().__init__(database._database)

    def write(self, batch: WriteBatch, *, is_synced: bool) -> None:
        raise DatabaseError("IO error: No space left on device")


def edit(path: Path, change: Callable[[plyvel.DB], object]) -> None:
    """Do what an insider with the database's own tools can do: its checksums stay right."""
    database = plyvel.DB(str(path))
    try:
        change(database)
    finally:
        database.close()


def look_everything_up(path: Path) -> None:
    store = Store.open(path, GENESIS)
    try:
        for height in range(6):
            block = store.load_block(height)
            assert block is not None
            store.find_certificate(height)
            store.find_height(block.hash)
            for transaction in block.transactions:
                store.find_transaction(transaction.id)
        store.next_certificate(1)
    finally:
        store.close()


def first_key(database: plyvel.DB, table: bytes) -> bytes:
    with database.iterator(prefix=table, include_value=False) as found:
        key: bytes = next(found)
        return key


EDITS: dict[str, Callable[[plyvel.DB], object]] = {
    "a header that is none": lambda db: db.put(b"H" + number_key(2), b"junk"),
    "a header of another height": lambda db: db.put(b"H" + number_key(2), db.get(b"H" + number_key(3))),
    "no header of the tip": lambda db: db.delete(b"H" + number_key(5)),
    "a transaction that is none": lambda db: db.put(b"T" + number_key(2) + number_key(0), b"x"),
    "a transaction of another block": lambda db: db.put(
        b"T" + number_key(2) + number_key(0), db.get(b"T" + number_key(3) + number_key(0))
    ),
    "a lost transaction": lambda db: db.delete(b"T" + number_key(2) + number_key(0)),
    "a certificate that is none": lambda db: db.put(b"C" + number_key(2), b"x"),
    "a place that is none": lambda db: db.put(first_key(db, b"t"), b"x"),
    "a height that is none": lambda db: db.put(first_key(db, b"h"), b"x"),
    "a tip that is none": lambda db: db.put(b"Mheight", b"x"),
    "an older tip": lambda db: db.put(b"Mheight", number_key(3)),
    "no tip": lambda db: db.delete(b"Mheight"),
    "a history that is none": lambda db: db.put(b"Mhistory", b"x"),
    "no chain id": lambda db: db.delete(b"Mchain"),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS.keys())
def test_records_that_do_not_belong_together_are_named_and_never_served(
    path: Path, change: Callable[[plyvel.DB], object]
) -> None:
    store = Store.open(path, GENESIS)
    grow(store, 5)
    store.close()
    look_everything_up(path)
    edit(path, change)
    with pytest.raises(StoreError) as refused:
        look_everything_up(path)
    assert refused.value.cure


def test_a_database_that_lost_its_beginning_is_not_replaced_by_an_empty_one(path: Path) -> None:
    store = Store.open(path, GENESIS)
    grow(store, 3)
    store.close()
    current = (path / "CURRENT").read_bytes()
    (path / "CURRENT").unlink()
    before = sorted(each.name for each in path.iterdir())
    with pytest.raises(StoreError, match="CURRENT"):
        Store.open(path, GENESIS)
    assert sorted(each.name for each in path.iterdir()) == before
    (path / "CURRENT").write_bytes(current)
    again = Store.open(path, GENESIS)
    assert again.tip().header.height == 3
    again.close()


def test_what_a_crash_in_the_first_moment_left_is_no_damage(path: Path) -> None:
    path.mkdir(parents=True)
    for name in ("LOCK", "LOG", "MANIFEST-000001"):
        (path / name).write_bytes(b"")
    store = Store.open(path, GENESIS)
    assert store.tip().header.height == 0
    store.close()


def test_damage_is_not_mistaken_for_a_lock_whatever_the_path_is_called(tmp_path: Path) -> None:
    path = tmp_path / "blocks" / "LOCK" / "chain"
    store = Store.open(path, GENESIS)
    grow(store, 3)
    leveldb_of(store).compact_range()
    store.close()
    for table in path.glob("*.ldb"):
        table.unlink()
    with pytest.raises(StoreError, match="missing") as refused:
        Store.open(path, GENESIS)
    assert "process" not in refused.value.found


def test_a_place_where_no_directory_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "chain"):
        with pytest.raises(StoreError, match="directory"):
            Store.open(path, GENESIS)


def test_an_unknown_storage_version_is_refused(path: Path) -> None:
    Store.open(path, GENESIS).close()
    edit(path, lambda database: database.put(b"Mschema", SCHEMA_VERSION + b"0"))
    with pytest.raises(StoreError, match="storage version"):
        Store.open(path, GENESIS)


def test_after_a_failed_write_the_store_takes_nothing_more(store: Store) -> None:
    chain = Chain(store)
    executed = build(chain, 1)
    database = store._database
    assert isinstance(database, LevelDatabase)
    store._database = FullDisk(database)
    with pytest.raises(StoreError, match="No space left"):
        store.put_pending(1, bytes(32), b"a block")
    store._database = database
    with pytest.raises(StoreError, match="Restart"):
        store.put_pending(1, bytes(32), b"a block")
    with pytest.raises(StoreError, match="Restart"):
        store.commit([executed], certify(executed))
    assert store.tip().header.height == 0
    assert store.find_header(1) is None


def test_an_image_of_the_disk_at_any_moment_of_a_write_holds_whole_blocks(path: Path, tmp_path: Path) -> None:
    store = Store.open(path, GENESIS)
    blocks = [None, *grow(store, 3)]
    (log,) = path.glob("*.log")
    size = log.stat().st_size
    heights = []
    for kept in [*range(0, size, 509), size]:
        image = tmp_path / "image"
        shutil.copytree(path, image)
        with (image / log.name).open("r+b") as file:
            file.truncate(kept)
        again = Store.open(image, GENESIS)
        try:
            tip = again.tip()
            heights.append(tip.header.height)
            executed = blocks[tip.header.height]
            assert executed is None or tip.encoded_header == executed.block.encoded_header
            assert check_pages(again, tip.header.state_root, (page for page, _ in again.pages())) > 0
            assert again.find_header(tip.header.height + 1) is None
        finally:
            again.close()
        shutil.rmtree(image)
    store.close()
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (0, 3)


def test_a_flipped_byte_in_the_log_is_an_error_or_leaves_whole_blocks(path: Path, tmp_path: Path) -> None:
    store = Store.open(path, GENESIS)
    blocks = [None, *grow(store, 3)]
    store.close()
    (log,) = path.glob("*.log")
    content = log.read_bytes()
    refused_count = 0
    for place in range(0, len(content), 251):
        image = tmp_path / "image"
        shutil.copytree(path, image)
        changed = content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]
        (image / log.name).write_bytes(changed)
        try:
            again = Store.open(image, GENESIS)
        except StoreError:
            refused_count += 1
        else:
            executed = blocks[again.tip().header.height]
            assert executed is None or again.tip().encoded_header == executed.block.encoded_header
            again.close()
        shutil.rmtree(image)
    assert refused_count > 0


WRITER = """
import os, sys
from pathlib import Path
from node.storage.store import Store
from tests.node.storage.test_store import GENESIS, grow
grow(Store.open(Path(sys.argv[1]), GENESIS), 4)
os._exit(9)
"""


def test_what_was_committed_outlives_a_process_that_ends_without_a_word(path: Path) -> None:
    root = ROOT
    ended = subprocess.run([sys.executable, "-c", WRITER, str(path)], cwd=root, timeout=60, check=False)
    assert ended.returncode == 9
    store = Store.open(path, GENESIS)
    try:
        assert store.tip().header.height == 4
        assert store.tip_certificate() is not None
    finally:
        store.close()


def test_pages_in_memory_are_the_pages_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PAGES_CACHED_MAX", 3)
    monkeypatch.setattr(top_pages, "TOP_PAGES_LEVELS", 3)
    store = Store.open(path, GENESIS)
    chain = Chain(store)
    for number in range(1, 4):
        chain.commit(certify(build(chain, number)))
        pages = dict(store._scan(store._page_table))
        assert len(pages) > 3
        for name, page in pages.items():
            assert store.load_page(name) == page
            assert len(store._pages) <= 3
        assert len(store._pages) == 3
    store.close()


def test_values_in_memory_are_the_values_on_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "VALUES_CACHED_MAX", 8)
    store = Store.over(store._database, GENESIS)
    chain = Chain(store)
    for number in range(1, 4):
        executed = build(chain, number)
        keys = list(executed.overlay.values)
        assert None in [store.find_value(key) for key in keys], "a new anchor is remembered as absent"
        chain.commit(certify(executed))
        assert [store.find_value(key) for key in keys] == [executed.overlay.values[key] for key in keys]
        for key, value in store.values():
            assert store.find_value(key) == value
            assert len(store._values) <= 8
    assert len(store._values) == 8


def test_only_a_finalization_of_the_last_block_commits(store: Store) -> None:
    chain = Chain(store)
    first = build(chain, 1)
    certificate = certify(first)
    subject = certificate.subject
    for wrong in (
        replace(subject, kind="notarize"),
        replace(subject, block_hash=bytes(32)),
        replace(subject, view=subject.view - 1),
    ):
        with pytest.raises(AssertionError):
            store.commit([first], replace(certificate, subject=wrong))
    with pytest.raises(AssertionError, match="holds blocks"):
        store.commit([], certificate)
    assert store.tip().header.height == 0
    store.commit([first], certificate)
    assert store.tip().header.height == 1


def test_a_block_made_final_through_its_child_has_no_certificate_of_its_own(store: Store) -> None:
    chain = Chain(store)
    first = build(chain, 1)
    built = chain.build(first.block.hash, [], view=2, proposer=VALIDATORS[2], now_ms=START_MS + 2)
    assert built is not None
    second, _ = built
    certificate = certify(second)
    store.commit([first, second], certificate)
    assert store.find_certificate(1) is None
    assert store.find_certificate(2) == certificate
    assert store.next_certificate(1) == (2, certificate)
    assert store.next_certificate(2) == (2, certificate)
    assert store.next_certificate(3) is None


def test_a_raw_block_is_what_was_committed_and_none_beyond_the_tip(store: Store) -> None:
    for executed in grow(store, 2):
        block = executed.block
        encoded = tuple(each.encoded for each in block.transactions)
        assert store.raw_block(block.header.height) == (block.encoded_header, encoded)
    assert store.raw_block(3) is None


def test_a_commit_keeps_the_unfinalized_blocks_above_it(store: Store) -> None:
    chain = Chain(store)
    first = build(chain, 1)
    store.put_pending(2, bytes(32), b"above")
    store.commit([first], certify(first))
    assert list(store.pending()) == [b"above"]


def test_unfinalized_blocks_come_back_lowest_first(store: Store) -> None:
    for height in (300, 2, 1):
        store.put_pending(height, bytes(32), b"%d" % height)
    assert list(store.pending()) == [b"1", b"2", b"300"]
