"""A whole network in one process, API included: homes, keys, TLS, disks, sockets and clocks are real."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ledger.encoding.keys import PrivateKey
from ledger.genesis import Genesis
from ledger.rules.operations import AnchorBatch, Operation
from ledger.rules.transactions import Transaction, TransactionBody
from node.api.server import Api
from node.consent.scenarios import load_scenarios, scenarios_directory
from node.files.keyfiles import DevelopmentKey
from node.home.consortium import NODES_COUNT, Network, new_network
from node.home.development import development_key
from node.run import NodeProcess, load_parts
from tests.support.ports import take_ports

VALIDATORS = ("hk-bureau", "hk-operator", "mainland-bank", "sz-operator")
REPORT = "hk.credit-report"
MAINLAND_REPORT = "cn.credit-report"


def now_ms() -> int:
    """Return the time of day in milliseconds."""
    return time.time_ns() // 1_000_000


def key_of(member: str) -> PrivateKey:
    """Return a member's published development key."""
    return development_key(member, "member")


def sign(
    network: Network,
    sender: str,
    *operations: Operation,
    valid_for_ms: int = 60_000,
    chain_id: bytes | None = None,
) -> Transaction:
    """Return a member's transaction, valid from now on for a time."""
    chain = network.genesis.content.chain_id if chain_id is None else chain_id
    body = TransactionBody(chain, sender, now_ms() + valid_for_ms, operations)
    return Transaction.sign(body, key_of(sender))


def fresh_anchor(schema: str = REPORT) -> AnchorBatch:
    """Return the anchor of a batch that nobody anchored before."""
    return AnchorBatch(secrets.token_bytes(32), 1, schema, None)


def make_network(directory: Path) -> Network:
    """Return a development network in a directory: homes on disk, of which none runs."""
    (base_port, *_) = take_ports(2 * NODES_COUNT)
    return new_network(
        directory,
        development=True,
        passphrase=None,
        base_port=base_port,
        random=secrets.token_bytes,
        now_ms=now_ms(),
        scenarios=load_scenarios(scenarios_directory()),
    )


def numbered_anchor(network: Network, number: int) -> bytes:
    """Return the encoded transaction with which the bureau anchors a batch that a number stands for."""
    return sign(network, "hk-bureau", AnchorBatch(number.to_bytes(32, "big"), 1, REPORT, None)).encoded


@dataclass(slots=True)
class RunningNetwork:
    """Homes on disk, and the nodes that run on them."""

    network: Network
    processes: dict[str, NodeProcess] = field(default_factory=dict)

    @property
    def genesis(self) -> Genesis:
        return self.network.genesis

    async def start(self, member: str) -> NodeProcess:
        """Start a member's node with its API."""
        process = NodeProcess(load_parts(self.network.homes[member], DevelopmentKey()), Api)
        await process.start()
        self.processes[member] = process
        return process

    async def stop(self, member: str) -> None:
        """Stop a member's node; its home stays."""
        await self.processes.pop(member).stop()

    def url(self, member: str) -> str:
        """Return the URL of a member's API."""
        return f"http://{self.network.homes[member].require_node().api}"

    def listen(self, member: str) -> tuple[str, int]:
        """Return the address at which a member's node listens for peers."""
        address = self.network.homes[member].require_node().listen
        return address.host, address.port


@asynccontextmanager
async def run_network(
    directory: Path, members: tuple[str, ...] = VALIDATORS
) -> AsyncIterator[RunningNetwork]:
    """Found a network in a directory, run nodes of it, and check in the end that none of them failed."""
    running = RunningNetwork(make_network(directory))
    try:
        for member in members:
            await running.start(member)
        yield running
        assert not any(process.failed.done() for process in running.processes.values())
    finally:
        for member in list(running.processes):
            await running.stop(member)
