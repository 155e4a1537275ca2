"""The mempool: bounded, fair, and forgetful of what can no longer be recorded."""

from dataclasses import replace

import pytest

from ledger.encoding.codec import encode
from ledger.rules.transactions import Transaction
from node.errors import MempoolError
from node.replica.mempool import SENDER_SHARE, Mempool
from tests.support.node_world import START_MS, anchor_transaction, make_genesis

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


def test_the_same_body_under_another_signature_is_another_transaction() -> None:
    mempool = Mempool()
    first = transaction(1)
    copy = Transaction.decode(encode((first.body_bytes, bytes(64))))
    mempool.add(first)
    mempool.add(copy)
    assert copy.id != first.id
    assert mempool.find(first.id) == first
    mempool.remove([copy.id])
    assert mempool.pick() == [first]


def test_the_bytes_of_the_whole_pool_have_a_bound() -> None:
    senders = [f"member-{number}" for number in range(SENDER_SHARE + 1)]
    size = len(transaction(0).encoded)
    mempool = Mempool(size_max=SENDER_SHARE * size)
    for number, sender in enumerate(senders):
        each = transaction(number)
        each = replace(each, body=replace(each.body, sender=sender))
        if number < SENDER_SHARE:
            mempool.add(each)
            continue
        with pytest.raises(MempoolError) as refused:
            mempool.add(each)
        assert refused.value.code == "mempool-full"
    assert mempool.size == SENDER_SHARE * size


def test_a_spammer_does_not_delay_anyone_else() -> None:
    mempool = Mempool()
    fill(mempool, "hk-bureau", 200)
    (other,) = fill(mempool, "mainland-bank", 1, first=1_000)
    for _ in range(4):
        assert other in mempool.pick(count_max=2)


def test_the_turn_to_go_first_passes_round() -> None:
    mempool = Mempool()
    fill(mempool, "hk-bureau", 2)
    fill(mempool, "mainland-bank", 2, first=100)
    first = [mempool.pick(count_max=1)[0].body.sender for _ in range(4)]
    assert first == ["hk-bureau", "mainland-bank"] * 2


def test_a_transaction_that_does_not_fit_ends_only_its_own_members_turn() -> None:
    mempool = Mempool()
    (first,) = fill(mempool, "hk-bureau", 1)
    large = replace(transaction(2), id=bytes(32), encoded=bytes(10_000))
    mempool.add(large)
    fill(mempool, "hk-bureau", 1, first=3)
    others = fill(mempool, "mainland-bank", 3, first=100)
    size = len(first.encoded) + sum(len(each.encoded) for each in others)
    picked = mempool.pick(size_max=size)
    assert [each for each in picked if each.body.sender == "hk-bureau"] == [first]
    assert [each for each in picked if each.body.sender == "mainland-bank"] == others


def test_what_is_excluded_uses_up_no_room() -> None:
    mempool = Mempool()
    added = fill(mempool, "hk-bureau", 6)
    above = {each.id for each in added[:4]}
    assert mempool.pick(count_max=2, excluded=above) == added[4:]
    assert mempool.pick(excluded={each.id for each in added}) == []
    assert mempool.count == 6


def test_expiry_is_exact_whatever_was_added_and_removed_before() -> None:
    mempool = Mempool()
    early = transaction(1)
    late = anchor_transaction(GENESIS, 2, START_MS + 5_000)
    later = anchor_transaction(GENESIS, 3, START_MS + 9_000)
    for each in (late, early, later):
        mempool.add(each)
    mempool.remove([early.id])
    assert mempool.expire(early.body.valid_until_ms + 1) == []
    assert mempool.expire(late.body.valid_until_ms) == []
    assert mempool.expire(late.body.valid_until_ms + 1) == [late]
    mempool.add(early)
    assert mempool.expire(early.body.valid_until_ms + 1) == [early]
    assert mempool.expire(later.body.valid_until_ms + 1) == [later]
    assert mempool.count == 0


def test_a_pool_too_small_for_shares_is_our_own_fault() -> None:
    mempool = Mempool(count_max=SENDER_SHARE)
    mempool.add(transaction(1))
    with pytest.raises(AssertionError):
        Mempool(count_max=SENDER_SHARE - 1)
