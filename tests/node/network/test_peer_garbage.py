"""What a registered peer may say to a running node's peer port, and that garbage costs it the connection, not us."""

import asyncio
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import aiohttp
import pytest

from ledger.encoding.codec import decode, encode
from ledger.rules.certificates import NOTARIZE, QuorumCertificate, SignedBy, Subject, Vote
from node.consensus.messages import BlockProposalMessage, CertificateMessage, VoteMessage, encode_message
from node.messages import (
    BlockProposal,
    Consensus,
    FinalBlocks,
    Gossip,
    NotHeld,
    PeerMessage,
    SnapshotChunk,
    SnapshotOffer,
    StoredBlock,
    WantBlock,
    WantChunk,
    WantFinal,
    WantSnapshot,
    WantTransactions,
    encode_peer_message,
)
from node.network.connection import CLOSE_TIMED_REFUSAL
from tests.node.test_running_attacks import peer_of
from tests.support.node_world import World, anchor_transaction
from tests.support.running_network import run_network

GARBAGE_SIZE = 4 * 1024 * 1024
MEMORY_GROWTH_MAX = 192 * 1024 * 1024
SUBJECT = Subject(NOTARIZE, 0, 1, 0, bytes(32))
VOTE = Vote(SUBJECT, 0, bytes(64))
CERTIFICATE = QuorumCertificate(SUBJECT, (SignedBy(0, bytes(64)), SignedBy(1, bytes(64))))


def messages(world: World) -> list[PeerMessage]:
    """Return a message of each kind, as it is sent."""
    tip = world.nodes["sz-operator"].store.tip()
    header = tip.encoded_header.encoded
    transaction = anchor_transaction(world.genesis, 1, 0).encoded
    block = StoredBlock(header, (transaction,))
    return [
        Consensus(encode_message(VoteMessage(VOTE))),
        Consensus(encode_message(CertificateMessage(CERTIFICATE))),
        BlockProposal(encode_message(BlockProposalMessage(VOTE)), header, (bytes(32),)),
        Gossip((transaction,)),
        WantTransactions((bytes(32),)),
        WantBlock(bytes(32)),
        block,
        WantFinal(1, 1),
        FinalBlocks(1, (block,), CERTIFICATE, None, 1),
        WantSnapshot(0, 1),
        WantChunk(1, bytes(32), 0),
        SnapshotChunk(1, bytes(32), 0, b"chunk", (bytes(32),)),
        NotHeld("blocks", 1, 0, 0, 1),
    ]


def spoiled(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a message with one thing wrong at a time."""
    value = decode(good)
    assert isinstance(value, tuple)
    yield "an item more", encode((*value, None))
    yield "an item less", encode(value[:-1])
    yield "another tag", encode(("nonsense", *value[1:]))
    yield "a byte too many", good + b"\0"
    yield "booleans", good[:1] + encode(value[0]) + b"\xc3" * (len(value) - 1)
    yield "a longer spelling", b"\xdc\x00" + bytes([good[0] & 15]) + good[1:]


GARBAGE: dict[str, bytes] = {
    "one byte": b"\0",
    "zeros": bytes(GARBAGE_SIZE),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "JSON": b'{"type": "gossip"}',
    "nested arrays": b"\x91" * GARBAGE_SIZE,
    "nested a little": b"\x91" * 40 + b"\xc0",
    "an array that claims 4 Gi items": b"\xdd\xff\xff\xff\xff" + bytes(64),
    "a string that claims 4 GiB": b"\xc6\xff\xff\xff\xff" + bytes(64),
    "a map": b"\x81\xa1a\x01",
    "gossip of nothing": encode(("gossip", ())),
    "gossip of garbage": encode_peer_message(Gossip((b"garbage",))),
    "many small items": encode(("gossip", (b"x",) * 8_192)),
    "consensus of garbage": encode_peer_message(Consensus(b"garbage")),
    "a proposal of garbage": encode_peer_message(BlockProposal(b"garbage", b"garbage", ())),
    "blocks of garbage": encode(("final-blocks", 1, (("block", b"garbage", (b"garbage",)),), None, None, 1)),
    "a height past the last": encode(("want-final", 2**53, 1)),
}
LAWFUL = {"blocks of garbage"}
"""No certificate, no claim: what stands beside none is not even read."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node in virtual time whose transport notes who is disconnected."""
    made = World(tmp_path)
    made.start("sz-operator")
    try:
        yield made
    finally:
        made.close()


def watch(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the reasons for which the node disconnects a peer."""
    reasons: list[str] = []
    node = world.nodes["sz-operator"]
    note: Callable[[str, str, float], None] = lambda _peer, reason, _seconds: reasons.append(reason)  # noqa: E731
    monkeypatch.setattr(type(node), "disconnect", staticmethod(note))
    return reasons


def test_each_kind_of_message_is_tried(world: World) -> None:
    tried = {message.TAG for message in messages(world)} | {SnapshotOffer.TAG}
    assert tried == {kind.TAG for kind in get_args(PeerMessage)}


def test_a_message_cut_at_any_length_is_an_offence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons, node = watch(world, monkeypatch), world.nodes["sz-operator"]
    before = (node.store.tip().encoded_header.hash, node.driver.mempool.count, node.driver.core.current_view)
    sent = 0
    for message in messages(world):
        good = encode_peer_message(message)
        for size in range(len(good)):
            node.driver.receive("hk-operator", good[:size])
            sent += 1
    assert len(reasons) == sent and all("expected" in reason and "found" in reason for reason in reasons)
    after = (node.store.tip().encoded_header.hash, node.driver.mempool.count, node.driver.core.current_view)
    assert after == before


def test_a_message_with_one_thing_wrong_is_an_offence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons, node = watch(world, monkeypatch), world.nodes["sz-operator"]
    for message in messages(world):
        for label, data in spoiled(encode_peer_message(message)):
            count = len(reasons)
            node.driver.receive("hk-operator", data)
            assert len(reasons) == count + 1, (message.TAG, label)
    assert node.driver.mempool.count == 0


def test_garbage_of_a_registered_peer_costs_it_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The attacker comes back at once, which a real one may not: that refusal has a test of its own below.
    monkeypatch.setattr("node.replica.messenger.OFFENCE_S", 0.0)

    async def live() -> None:
        async with run_network(tmp_path / "network", ("sz-operator",)) as running:
            process = running.processes["sz-operator"]
            before = process.store.tip().encoded_header.hash
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            for label, data in GARBAGE.items():
                async with peer_of(running, "sz-operator") as socket:
                    await socket.send_bytes(data)
                    if label in LAWFUL:
                        continue
                    async with asyncio.timeout(15):
                        while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                            continue
                    assert message.type is aiohttp.WSMsgType.CLOSE, label
                    assert "expected" in f"{message.extra}", label
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - memory
            assert grown < MEMORY_GROWTH_MAX, f"{grown} bytes more"
            assert process.store.tip().encoded_header.hash == before
            assert process.driver.mempool.count == 0

    asyncio.run(live())


def test_a_peer_that_sent_garbage_is_refused_for_a_time(tmp_path: Path) -> None:
    async def live() -> None:
        async with run_network(tmp_path / "network", ("sz-operator",)) as running:
            async with peer_of(running, "sz-operator") as socket:
                await socket.send_bytes(b"garbage")
                async with asyncio.timeout(15):
                    while (await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                        continue
            with pytest.raises(Exception, match=f"refused for|{CLOSE_TIMED_REFUSAL}"):
                async with peer_of(running, "sz-operator"):
                    pass

    asyncio.run(live())
