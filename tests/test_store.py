"""The store: whole blocks or none, checked on every read, refusing what it cannot be."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.certificates import FINALIZE, VOTE_TAGS, QuorumCertificate, SignedBy, Subject
from ledger.genesis import Genesis, sign_genesis
from ledger.merkle import inclusion_path_from_nodes, verify_inclusion
from ledger.overlays import Executed
from ledger.statepages import check_pages, prove
from ledger.statetree import InclusionProof, verify_present
from node.chain import Chain
from node.storage.store import Store, StoreError
from tests.node_world import START_MS, VALIDATORS, anchor_transaction, make_genesis, private_key

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
        chain.tip.sealed.hash,
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
    chain = Chain(store, GENESIS.content.validators)
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
    assert store.find_height(store.tip().sealed.hash) == 0


def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    store = Store.open(path, GENESIS)
    blocks = grow(store, 5)
    before = store.tip()
    store.close()
    again = Store.open(path, GENESIS)
    try:
        assert again.tip().sealed == before.sealed
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
    with store.snapshot() as snapshot:
        grow_more = Chain(store, GENESIS.content.validators)
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
        sealed = store.find_header(height)
        assert sealed is not None
        path = inclusion_path_from_nodes(height, tip.height, store.load_history_node)
        verify_inclusion(sealed.hash, path, size=tip.height, root=tip.history_root)


def test_blocks_that_are_not_final_survive_and_go_when_their_height_is_final(path: Path) -> None:
    store = Store.open(path, GENESIS)
    chain = Chain(store, GENESIS.content.validators)
    executed = build(chain, 1)
    store.close()
    again = Store.open(path, GENESIS)
    try:
        assert len(list(again.pending())) == 1
        restored = Chain(again, GENESIS.content.validators)
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


def test_a_store_in_use_is_refused_and_names_the_other_door(store: Store, path: Path) -> None:
    assert store.tip().header.height == 0
    with pytest.raises(StoreError, match="--url"):
        Store.open(path, GENESIS)


def test_a_commit_that_does_not_follow_the_tip_is_our_own_fault(store: Store) -> None:
    chain = Chain(store, GENESIS.content.validators)
    first = build(chain, 1)
    certificate = certify(first)
    store.commit([first], certificate)
    with pytest.raises(AssertionError, match="in order"):
        store.commit([first], certificate)
    assert store.tip().header.height == 1


def test_a_flipped_byte_in_a_table_is_an_error_and_never_a_missing_record(path: Path) -> None:
    store = Store.open(path, GENESIS)
    grow(store, 40)
    store._database.compact_range()
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
