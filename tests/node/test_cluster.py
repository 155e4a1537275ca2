"""Four validator processes under SIGKILL: every acknowledged transaction is final on all nodes, once."""

import asyncio
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.processes import LOG_FILE, start_node, stop_node
from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction, TransactionBody
from node.client.client import Client
from node.errors import ClientError
from node.home.consortium import Network
from node.home.development import development_key
from node.lifeline import Lifeline
from tests.support.running_network import VALIDATORS, make_network

pytestmark = pytest.mark.slow

KILLS = 12
TRANSACTIONS = 2_400
BATCH = 20
RECOVERY_S = 60.0


class Cluster:
    """Four node processes on loopback."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.lifeline = Lifeline()

    def url(self, member: str) -> str:
        return f"http://{self.network.homes[member].require_node().api}"

    def start(self, member: str) -> None:
        self.processes[member] = start_node(
            self.network.homes[member].path, passphrase_file=None, lifeline=self.lifeline
        )

    def kill(self, member: str) -> None:
        process = self.processes.pop(member)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for member, process in self.processes.items():
            home = self.network.homes[member].path
            stop_node(home)
            process.wait()
            # What is left of a node's parts at the end of its interpreter complains there.
            assert "Error in" not in (home / LOG_FILE).read_text()
        self.lifeline.close()

    async def wait_for(self, member: str, height: int) -> None:
        """Wait until a node has this height."""
        async with asyncio.timeout(RECOVERY_S), Client.connect(self.url(member)) as client:
            while True:
                try:
                    if (await client.status()).height >= height:
                        return
                except ClientError:
                    await asyncio.sleep(0.05)
                    continue
                await asyncio.sleep(0.05)

    async def leader_of_next_view(self, member: str) -> str:
        """Return who leads the view after the newest block that a node has."""
        async with Client.connect(self.url(member)) as client:
            height = (await client.status()).height
            ((block, _),) = (await client.blocks(height))[:1]
        return VALIDATORS[(block.header.view + 1) % len(VALIDATORS)]


def make_batch(network: Network, first: int) -> list[Transaction]:
    now_ms = time.time_ns() // 1_000_000
    key = development_key("hk-bureau", "member")
    return [
        Transaction.sign(
            TransactionBody(
                network.genesis.content.chain_id,
                "hk-bureau",
                now_ms + 120_000,
                (AnchorBatch(number.to_bytes(32, "big"), 1, "hk.credit-report", None),),
            ),
            key,
        )
        for number in range(first, first + BATCH)
    ]


async def submit_until_final(cluster: Cluster, batch: list[Transaction], source: random.Random) -> set[bytes]:
    """Submit a batch to one node after another until each is acknowledged as final."""
    waiting = {transaction.id: transaction for transaction in batch}
    acknowledged: set[bytes] = set()
    while waiting:
        member = source.choice(sorted(cluster.processes))
        try:
            async with Client.connect(cluster.url(member)) as client:
                for result in await client.submit(list(waiting.values()), wait_ms=3_000):
                    if result.state == "final":
                        acknowledged.add(result.id)
                        waiting.pop(result.id, None)
        except ClientError:
            await asyncio.sleep(0.05)
    return acknowledged


async def load(cluster: Cluster) -> set[bytes]:
    source = random.Random(1)
    firsts = list(range(0, TRANSACTIONS, BATCH))
    acknowledged: set[bytes] = set()

    async def work() -> None:
        while firsts:
            batch = make_batch(cluster.network, firsts.pop())
            acknowledged.update(await submit_until_final(cluster, batch, source))

    await asyncio.gather(*(work() for _ in range(3)))
    return acknowledged


async def kill_and_start(cluster: Cluster) -> list[str]:
    """Kill every node in turn, and then whoever leads, under load; each comes back before the next goes."""
    killed: list[str] = []
    for number in range(KILLS):
        await asyncio.sleep(0.3)
        witness = next(member for member in sorted(cluster.processes) if member != VALIDATORS[number % 4])
        victim = VALIDATORS[number % 4] if number < 4 else await cluster.leader_of_next_view(witness)
        cluster.kill(victim)
        killed.append(victim)
        await asyncio.sleep(0.2)
        async with Client.connect(cluster.url(next(iter(sorted(cluster.processes))))) as client:
            height = (await client.status()).height
        cluster.start(victim)
        await cluster.wait_for(victim, height)
    return killed


async def transactions_of(client: Client, height_max: int) -> list[bytes]:
    found: list[bytes] = []
    height = 1
    while height <= height_max:
        blocks = await client.blocks(height)
        for block, _ in blocks:
            if block.header.height <= height_max:
                found += [transaction.id for transaction in block.transactions]
        height += len(blocks)
    return found


def test_nothing_acknowledged_is_lost_or_doubled_while_processes_are_killed(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")
    cluster = Cluster(network)

    async def live() -> None:
        for member in VALIDATORS:
            cluster.start(member)
        for member in VALIDATORS:
            await cluster.wait_for(member, 1)
        loading = asyncio.ensure_future(load(cluster))
        killed = await kill_and_start(cluster)
        acknowledged = await asyncio.wait_for(loading, 120)
        assert set(killed) == set(VALIDATORS)
        assert len(killed) == KILLS
        assert len(acknowledged) == TRANSACTIONS
        heights = []
        for member in VALIDATORS:
            async with Client.connect(cluster.url(member)) as client:
                heights.append((await client.status()).height)
        for member in VALIDATORS:
            await cluster.wait_for(member, max(heights))
            async with Client.connect(cluster.url(member)) as client:
                recorded = await transactions_of(client, max(heights))
            assert len(recorded) == len(set(recorded))
            assert acknowledged <= set(recorded)

    try:
        asyncio.run(live())
    finally:
        cluster.stop()
