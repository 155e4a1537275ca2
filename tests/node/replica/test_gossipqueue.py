"""GossipQueue: bounded for each peer and in all, taken in turn, each transaction once."""

import pytest

from node.replica import gossipqueue
from node.replica.gossipqueue import GossipQueue


def identity(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_peers_take_turns_and_each_keeps_its_order() -> None:
    waiting = GossipQueue()
    for number in range(4):
        assert waiting.put("flooder", identity(number), b"f%d" % number)
    assert waiting.put("quiet", identity(9), b"q9")
    assert list(waiting.take(3)) == [("flooder", b"f0"), ("quiet", b"q9"), ("flooder", b"f1")]
    assert list(waiting.take(99)) == [("flooder", b"f2"), ("flooder", b"f3")]
    assert list(waiting.take(1)) == []
    assert (len(waiting), waiting.size) == (0, 0)


def test_a_transaction_waits_once_under_whoever_sent_it_first() -> None:
    waiting = GossipQueue()
    assert waiting.put("a", identity(1), b"one")
    assert waiting.put("b", identity(1), b"one")
    assert list(waiting.take(9)) == [("a", b"one")]


def test_one_is_taken_out_of_turn_by_its_id() -> None:
    waiting = GossipQueue()
    waiting.put("a", identity(1), b"one")
    waiting.put("a", identity(2), b"two")
    assert waiting.pop(identity(2)) == b"two"
    assert waiting.pop(identity(2)) is None
    assert list(waiting.take(9)) == [("a", b"one")]


def test_a_peer_that_is_forgotten_leaves_room() -> None:
    waiting = GossipQueue()
    waiting.put("a", identity(1), b"one")
    waiting.put("b", identity(2), b"two")
    waiting.forget("a")
    waiting.forget("stranger")
    assert (len(waiting), waiting.size) == (1, 3)
    assert list(waiting.take(9)) == [("b", b"two")]


@pytest.mark.parametrize(("limit", "room"), [("PEER_COUNT_MAX", 3), ("PEER_SIZE_MAX", 30), ("SIZE_MAX", 30)])
def test_each_limit_holds_at_the_maximum_and_refuses_one_past_it(
    monkeypatch: pytest.MonkeyPatch, limit: str, room: int
) -> None:
    monkeypatch.setattr(gossipqueue, limit, room)
    waiting = GossipQueue()
    assert all(waiting.put("a", identity(number), bytes(10)) for number in range(3))
    assert not waiting.put("a", identity(3), bytes(10))
    assert (len(waiting), waiting.size) == (3, 30)
    assert waiting.put("b", identity(4), bytes(10)) is (limit != "SIZE_MAX")
