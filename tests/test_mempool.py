"""The mempool: bounded, fair, and forgetful of what can no longer be recorded."""

import pytest

from ledger.transactions import Transaction
from node.mempool import SENDER_SHARE, Mempool, MempoolError
from tests.node_world import START_MS, anchor_transaction, make_genesis

GENESIS = make_genesis()


def transaction(number: int, sender: str = "hk-bureau") -> Transaction:
    return anchor_transaction(GENESIS, number, START_MS, sender)


def fill(mempool: Mempool, sender: str, count: int, first: int = 0) -> list[Transaction]:
    added = [transaction(number, sender) for number in range(first, first + count)]
    for each in added:
        mempool.add(each)
    return added


def test_what_was_added_is_found_once() -> None:
    mempool = Mempool()
    first = transaction(1)
    mempool.add(first)
    mempool.add(first)
    assert mempool.find(first.id) == first
    assert (mempool.count, mempool.size) == (1, len(first.encoded))


def test_a_member_is_held_to_its_share_and_others_are_not_crowded_out() -> None:
    mempool = Mempool(count_max=8 * SENDER_SHARE)
    fill(mempool, "hk-bureau", 8)
    with pytest.raises(MempoolError) as refused:
        mempool.add(transaction(100))
    assert refused.value.code == "mempool-share"
    assert refused.value.cure
    mempool.add(transaction(100, "mainland-bank"))
    assert mempool.count == 9


def test_a_member_is_held_to_its_share_of_bytes() -> None:
    size = len(transaction(0).encoded)
    mempool = Mempool(size_max=2 * SENDER_SHARE * size + SENDER_SHARE)
    fill(mempool, "hk-bureau", 2)
    with pytest.raises(MempoolError) as refused:
        mempool.add(transaction(100))
    assert refused.value.code == "mempool-share"


def test_the_whole_pool_has_a_bound_whoever_fills_it() -> None:
    mempool = Mempool(count_max=8)
    for sender in ("hk-bureau", "hk-operator", "mainland-bank", "sz-operator"):
        fill(mempool, sender, 2)
    mempool.remove([next(iter(mempool.ids()))])
    mempool.add(transaction(50, "hk-bureau"))
    with pytest.raises(MempoolError):
        mempool.add(transaction(51, "sz-operator"))
    assert mempool.count == 8


def test_picking_goes_round_the_members() -> None:
    mempool = Mempool()
    fill(mempool, "hk-bureau", 20)
    fill(mempool, "mainland-bank", 2, first=100)
    senders = [each.body.sender for each in mempool.pick(count_max=6)]
    assert senders.count("mainland-bank") == 2


def test_picking_keeps_to_count_and_bytes_and_to_each_members_order() -> None:
    mempool = Mempool()
    added = fill(mempool, "hk-bureau", 5)
    assert mempool.pick(count_max=3) == added[:3]
    assert mempool.pick(size_max=2 * len(added[0].encoded) + 1) == added[:2]
    assert mempool.count == 5


def test_removing_frees_room_and_unknown_ids_are_ignored() -> None:
    mempool = Mempool()
    added = fill(mempool, "hk-bureau", 3)
    mempool.remove([added[0].id, bytes(32)])
    assert [each.id for each in mempool.pick()] == [added[1].id, added[2].id]
    mempool.remove(each.id for each in added)
    assert (mempool.count, mempool.size, mempool.pick()) == (0, 0, [])


def test_what_can_no_longer_be_recorded_is_dropped() -> None:
    mempool = Mempool()
    (waiting,) = fill(mempool, "hk-bureau", 1)
    assert mempool.expire(waiting.body.valid_until_ms) == []
    assert mempool.expire(waiting.body.valid_until_ms + 1) == [waiting]
    assert mempool.count == 0
