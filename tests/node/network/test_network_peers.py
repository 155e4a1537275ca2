"""Nodes find each other, exchange messages, and find each other again."""

import asyncio
import logging
import random
from collections import Counter
from dataclasses import replace

import pytest

from node.network.connection import CLOSE_TIMED_REFUSAL
from node.network.limits import INBOX_COUNT_MAX, MESSAGE_SIZE_MAX, REFUSAL_S_MAX
from node.network.peers import PeerNetwork
from node.network.receivequeue import NetworkStopped
from node.network.registry import Peer, PeerKind
from node.network.tls import make_identity
from tests.support.network_world import (
    CHAIN,
    IDENTITIES,
    IDS,
    QUICK,
    Node,
    impostor,
    running,
    unlisted,
    until,
    with_addresses,
    world,
)
from tests.support.ports import take_ports


def test_two_nodes_connect_and_exchange_messages() -> None:
    async def scenario() -> None:
        async with world("bank", "bureau") as nodes:
            assert nodes["bank"].network.send("bureau", b"question")
            assert await nodes["bureau"].receive(1) == [("bank", b"question")]
            assert nodes["bureau"].network.send("bank", b"answer")
            assert await nodes["bank"].receive(1) == [("bureau", b"answer")]

    asyncio.run(scenario())


def test_four_nodes_reach_each_other_by_broadcast() -> None:
    async def scenario() -> None:
        async with world(*IDS) as nodes:
            for node_id, node in nodes.items():
                assert node.network.broadcast(node_id.encode()) == 3
            for node_id, node in nodes.items():
                received = await node.receive(3)
                assert sorted(received) == sorted((i, i.encode()) for i in IDS if i != node_id)

    asyncio.run(scenario())


def test_a_pair_that_dials_both_ways_ends_with_one_connection_and_loses_nothing() -> None:
    async def scenario() -> None:
        for _ in range(5):
            async with world(*IDS) as nodes:
                for node in nodes.values():
                    node.network.broadcast(b"at once")
                for node_id, node in nodes.items():
                    assert len(await node.receive(3)) == 3
                    assert sorted(node.events) == sorted(f"up {i}" for i in IDS if i != node_id)

    asyncio.run(scenario())


def test_a_broadcast_to_one_kind_leaves_the_others_out() -> None:
    async def scenario() -> None:
        async with world("bank", "bureau", "hk-operator") as nodes:
            listed = with_addresses(nodes)
            listed["hk-operator"] = replace(listed["hk-operator"], kind=PeerKind.OBSERVER)
            bank = nodes["bank"].network
            bank.update_peers(listed)
            assert bank.broadcast(b"vote", PeerKind.VALIDATOR) == 1
            assert bank.broadcast(b"block", PeerKind.OBSERVER) == 1
            assert await nodes["bureau"].receive(1) == [("bank", b"vote")]
            assert await nodes["hk-operator"].receive(1) == [("bank", b"block")]

    asyncio.run(scenario())


def test_messages_of_one_connection_arrive_in_order_and_once() -> None:
    async def scenario() -> None:
        async with world("bank", "bureau") as nodes:
            sent = [index.to_bytes(4, "big") * (1 + index % 50) for index in range(900)]
            for data in sent:
                nodes["bank"].network.send("bureau", data)
            assert [data for _, data in await nodes["bureau"].receive(len(sent))] == sent

    asyncio.run(scenario())


def test_the_largest_and_the_smallest_message_pass() -> None:
    async def scenario() -> None:
        async with world("bank", "bureau") as nodes:
            for sender, receiver in (("bank", "bureau"), ("bureau", "bank")):
                for data in (b"\x00", b"\xa5" * MESSAGE_SIZE_MAX):
                    assert nodes[sender].network.send(receiver, data)
                    assert await nodes[receiver].receive(1) == [(sender, data)]

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [0, MESSAGE_SIZE_MAX + 1])
def test_a_message_past_the_limits_is_not_even_queued(size: int) -> None:
    async def scenario() -> None:
        async with world("bank", "bureau") as nodes:
            bank = nodes["bank"].network
            with pytest.raises(ValueError, match=f"expected 1 to {MESSAGE_SIZE_MAX} bytes, found {size}"):
                bank.send("bureau", bytes(size))
            with pytest.raises(ValueError, match=f"expected 1 to {MESSAGE_SIZE_MAX} bytes, found {size}"):
                bank.broadcast(bytes(size))
            assert bank.statuses()[0].outbox_count == 0

    asyncio.run(scenario())


def test_sending_to_a_stranger_or_an_absent_peer_says_so() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bureau")) as node:
            assert not node.network.send("bureau", b"x")
            assert not node.network.send("nobody", b"x")
            assert node.network.broadcast(b"x") == 0

    asyncio.run(scenario())


def test_one_address_of_a_pair_is_enough() -> None:
    async def scenario() -> None:
        async with running("sz-operator", unlisted("bank")) as listening:
            known = with_addresses({"sz-operator": listening})
            async with running("bank", known) as dialling:
                await until(lambda: listening.network.is_connected("bank"))
                listening.network.send("bank", b"x")
                assert await dialling.receive(1) == [("sz-operator", b"x")]

    asyncio.run(scenario())


def test_a_restarted_node_is_found_again() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bank", "bureau")) as bank:
            async with running("bureau", unlisted("bank", "bureau")) as first:
                port = first.port
                bank.network.update_peers(with_addresses({"bank": bank, "bureau": first}))
                await until(lambda: bank.network.is_connected("bureau"))
            await until(lambda: not bank.network.is_connected("bureau"))
            async with running("bureau", unlisted("bank"), port=port) as second:
                await until(lambda: bank.network.is_connected("bureau"))
                bank.network.send("bureau", b"welcome back")
                assert await second.receive(1) == [("bank", b"welcome back")]
        assert bank.events[:3] == ["up bureau", "down bureau", "up bureau"]

    asyncio.run(scenario())


def test_another_incarnation_replaces_a_connection_that_looks_alive() -> None:
    async def scenario() -> None:
        async with (
            running("bank", unlisted("bureau")) as bank,
            impostor(bank, "bureau", incarnation=b"run no 1") as before,
            impostor(bank, "bureau", incarnation=b"run no 2") as after,
        ):
            await after.send_bytes(b"I am back")
            assert await bank.receive(1) == [("bureau", b"I am back")]
            assert bank.events == ["up bureau", "down bureau", "up bureau"]
            assert (await before.receive()).extra == "another connection of this pair is kept"

    asyncio.run(scenario())


def test_a_peer_that_leaves_the_registry_loses_its_connection() -> None:
    async def scenario() -> None:
        async with world("bank", "bureau", "hk-operator") as nodes:
            bank = nodes["bank"].network
            listed = with_addresses(nodes)
            del listed["bureau"]
            bank.update_peers(listed)
            await until(lambda: "down bureau" in nodes["bank"].events)
            assert not bank.send("bureau", b"x")
            assert bank.send("hk-operator", b"x")
            await until(lambda: not nodes["bureau"].network.is_connected("bank"))

    asyncio.run(scenario())


def test_a_replaced_certificate_is_the_only_one_that_counts() -> None:
    async def scenario() -> None:
        fresh = make_identity("bureau")
        async with running("bank", unlisted("bureau")) as bank:
            async with impostor(bank, "bureau") as old:
                bank.network.update_peers({"bureau": Peer(fresh.certificate, None, PeerKind.VALIDATOR)})
                assert (await old.receive()).extra == "its certificate was replaced"
            async with impostor(bank, "bureau", identity=fresh) as new:
                await new.send_bytes(b"x")
                assert await bank.receive(1) == [("bureau", b"x")]

    asyncio.run(scenario())


def test_a_timed_refusal_keeps_a_peer_out_and_then_lets_it_back() -> None:
    async def scenario() -> None:
        async with world("bank", "bureau") as nodes:
            bank, loop = nodes["bank"].network, asyncio.get_running_loop()
            nodes["bureau"].network.send("bank", b"garbage")
            await until(lambda: bank.statuses()[0].inbox_count == 1)
            refused_at = loop.time()
            bank.disconnect("bureau", "it sent garbage", 0.4)
            assert bank.statuses()[0].inbox_count == 0
            await until(lambda: not bank.is_connected("bureau"))
            assert bank.statuses()[0].refused_for_s > 0
            await until(lambda: bank.is_connected("bureau"))
            assert loop.time() - refused_at >= 0.4
            nodes["bureau"].network.send("bank", b"sense")
            await until(lambda: nodes["bureau"].network.is_connected("bank"))

    asyncio.run(scenario())


def test_a_refused_peer_is_told_why() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bureau")) as bank, impostor(bank, "bureau") as socket:
            bank.network.disconnect("bureau", "bad signature", 60)
            message = await socket.receive()
            assert (message.data, message.extra) == (CLOSE_TIMED_REFUSAL, "refused for 60.0 s: bad signature")

    asyncio.run(scenario())


def test_no_refusal_is_longer_than_the_limit() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bureau")) as bank:
            bank.network.disconnect("bureau", "longest", REFUSAL_S_MAX)
            with pytest.raises(ValueError, match=f"expected 0 to {REFUSAL_S_MAX} s"):
                bank.network.disconnect("bureau", "longer", REFUSAL_S_MAX + 1)
            with pytest.raises(ValueError, match="expected 0 to"):
                bank.network.disconnect("bureau", "odd", float("nan"))

    asyncio.run(scenario())


def test_a_flood_of_one_peer_neither_grows_nor_delays_the_others() -> None:
    async def scenario() -> None:
        async with world("bank", "bureau", "hk-operator") as nodes:
            bank = nodes["bank"].network
            count = 3 * INBOX_COUNT_MAX
            for index in range(count):
                nodes["bureau"].network.send("bank", index.to_bytes(2, "big") * 500)
            await until(lambda: waiting(nodes["bank"], "bureau") == INBOX_COUNT_MAX)
            nodes["hk-operator"].network.send("bank", b"mine")
            await until(lambda: waiting(nodes["bank"], "hk-operator") == 1)
            assert waiting(nodes["bank"], "bureau") == INBOX_COUNT_MAX
            first_two = dict(await bank.take_batch(2))
            assert first_two["hk-operator"] == b"mine"
            rest = await nodes["bank"].receive(count - 1)
            assert [data for _, data in rest] == [index.to_bytes(2, "big") * 500 for index in range(1, count)]

    asyncio.run(scenario())


def waiting(node: Node, peer_id: str) -> int:
    """How many messages of this peer wait for the node's consumer."""
    return next(status.inbox_count for status in node.network.statuses() if status.peer_id == peer_id)


def test_a_peer_held_back_by_our_own_full_inbox_is_not_called_dead() -> None:
    async def scenario() -> None:
        timing = replace(QUICK, ping_interval_s=0.05, dead_after_s=0.2)
        # Only the consumer's side is impatient: it must know that the silence is its own doing.
        async with running("bank", unlisted("bureau"), timing=timing) as bank:
            known = with_addresses({"bank": bank})
            async with running("bureau", known) as bureau:
                await until(lambda: bureau.network.is_connected("bank"))
                for _ in range(INBOX_COUNT_MAX + 500):
                    bureau.network.send("bank", b"x" * 2000)
                await until(lambda: waiting(bank, "bureau") == INBOX_COUNT_MAX)
                await asyncio.sleep(0.5)
                assert len(await bank.receive(INBOX_COUNT_MAX + 500)) == INBOX_COUNT_MAX + 500
                assert bank.events == ["up bureau"]

    asyncio.run(scenario())


def test_a_delay_holds_messages_back_without_reordering_them() -> None:
    async def scenario() -> None:
        async with world("bank", "bureau", delay_ms=50) as nodes:
            loop = asyncio.get_running_loop()
            started_at = loop.time()
            for index in range(200):
                nodes["bank"].network.send("bureau", bytes([index]))
            received = await nodes["bureau"].receive(200)
            # Held back together, not one after the other.
            assert 0.05 <= loop.time() - started_at < 2.0
            assert [data[0] for _, data in received] == list(range(200))

    asyncio.run(scenario())


def test_closing_leaves_no_task_and_ends_the_stream_of_messages() -> None:
    async def scenario() -> None:
        before = asyncio.all_tasks()
        async with world(*IDS) as nodes:
            consumer = asyncio.create_task(collect(nodes["bank"].network))
            nodes["bureau"].network.send("bank", b"last")
            await nodes["bank"].network.close()
            await nodes["bank"].network.close()
            assert set(await consumer) <= {("bureau", b"last")}
        assert asyncio.all_tasks() == before

    asyncio.run(scenario())


async def collect(network: PeerNetwork) -> list[tuple[str, bytes]]:
    """Take messages until there are no more."""
    return [message async for message in network.messages()]


def test_a_failure_of_our_own_reaches_the_consumer() -> None:
    def fail(peer_id: str) -> None:
        raise AssertionError(f"no room for {peer_id}")

    async def scenario() -> None:
        network = PeerNetwork(
            node_id="bank",
            identity=IDENTITIES["bank"],
            chain_id=CHAIN,
            peers=unlisted("bureau"),
            random_source=random.Random(1),
            on_peer_up=fail,
            timing=QUICK,
        )
        try:
            node = Node(network, await network.start(host="127.0.0.1", port=0))
            async with running("bureau", with_addresses({"bank": node})):
                with pytest.raises(NetworkStopped, match="no room for bureau"):
                    await network.take_batch(1)
        finally:
            await network.close()

    asyncio.run(scenario())


def test_statuses_name_every_peer_once() -> None:
    async def scenario() -> None:
        async with world(*IDS) as nodes:
            seen = Counter(status.peer_id for status in nodes["bank"].network.statuses())
            assert seen == Counter(i for i in IDS if i != "bank")

    asyncio.run(scenario())


def test_a_failed_dial_is_told_once_by_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    (port,) = take_ports(1)
    absent = Peer(IDENTITIES["bureau"].certificate, f"127.0.0.1:{port}", PeerKind.VALIDATOR)
    caplog.set_level(logging.INFO, "node.network.peers")

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if "peer.dial_failed" in record.getMessage()]

    async def scenario() -> None:
        async with running("bank", {"bureau": absent}):
            await until(lambda: bool(told()))
            await asyncio.sleep(10 * QUICK.backoff_first_s)

    asyncio.run(scenario())
    (line,) = told()
    assert "ConnectionRefusedError" in line and f"{port}" in line
    assert "0x" not in line and "object" not in line
