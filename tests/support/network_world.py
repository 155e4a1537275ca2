"""Real nodes on loopback, and the attackers that the tests of the peer transport need."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp

from node.network.connection import close_socket
from node.network.dialer import dial, make_session
from node.network.hello import Hello
from node.network.limits import Timing
from node.network.peers import PeerNetwork
from node.network.registry import Peer, PeerKind
from node.network.tls import TlsIdentity, make_client_context, make_identity
from tests.support.machine import PATIENCE_S

CHAIN = b"c" * 32
OTHER_CHAIN = b"d" * 32
IDS = ("bank", "bureau", "hk-operator", "sz-operator")
IDENTITIES: Mapping[str, TlsIdentity] = {node_id: make_identity(node_id) for node_id in (*IDS, "stranger")}
QUICK = Timing(
    handshake_s=2.0,
    hello_s=2.0,
    dial_s=3.0,
    close_s=0.3,
    ping_interval_s=1.0,
    dead_after_s=5.0,
    send_stall_s=5.0,
    backoff_first_s=0.02,
    backoff_max_s=0.1,
    stable_after_s=0.05,
)


def unlisted(*ids: str) -> dict[str, Peer]:
    """Peers without addresses."""
    return {node_id: Peer(IDENTITIES[node_id].certificate, None, PeerKind.VALIDATOR) for node_id in ids}


@dataclass
class Node:
    """A network with a record of who came and went."""

    network: PeerNetwork
    port: int = 0
    events: list[str] = field(default_factory=list)

    async def receive(self, count: int) -> list[tuple[str, bytes]]:
        """Take exactly this many messages."""
        taken: list[tuple[str, bytes]] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(taken) < count:
                taken += await self.network.take_batch(count - len(taken))
        return taken


@asynccontextmanager
async def running(
    node_id: str,
    peers: Mapping[str, Peer],
    *,
    identity: TlsIdentity | None = None,
    chain_id: bytes = CHAIN,
    timing: Timing = QUICK,
    delay_ms: float = 0.0,
    port: int = 0,
) -> AsyncIterator[Node]:
    """Run one node; at its end nothing of it may be left."""
    events: list[str] = []
    network = PeerNetwork(
        node_id=node_id,
        identity=identity or IDENTITIES[node_id],
        chain_id=chain_id,
        peers=peers,
        random_source=random.Random(f"{node_id} {random.random()}"),
        on_peer_up=lambda peer_id: events.append(f"up {peer_id}"),
        on_peer_down=lambda peer_id: events.append(f"down {peer_id}"),
        timing=timing,
        delay_ms=delay_ms,
    )
    try:
        yield Node(network, await network.start(host="127.0.0.1", port=port), events)
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await network.close()


@asynccontextmanager
async def world(*ids: str, timing: Timing = QUICK, delay_ms: float = 0.0) -> AsyncIterator[dict[str, Node]]:
    """Run these nodes, all connected. Each knows the address of each, so every pair dials both ways."""
    nodes: dict[str, Node] = {}
    async with _all_running(ids, timing, delay_ms, nodes):
        listed = with_addresses(nodes)
        for node in nodes.values():
            node.network.update_peers(listed)
        await until(lambda: all(is_complete(node, ids) for node in nodes.values()))
        yield nodes


@asynccontextmanager
async def _all_running(
    ids: tuple[str, ...], timing: Timing, delay_ms: float, nodes: dict[str, Node]
) -> AsyncIterator[None]:
    if len(nodes) == len(ids):
        yield
        return
    node_id = ids[len(nodes)]
    async with running(node_id, unlisted(*ids), timing=timing, delay_ms=delay_ms) as node:
        nodes[node_id] = node
        async with _all_running(ids, timing, delay_ms, nodes):
            yield


def with_addresses(nodes: Mapping[str, Node]) -> dict[str, Peer]:
    """Peers with the addresses at which these nodes listen."""
    return {
        node_id: replace(peer, address=f"127.0.0.1:{nodes[node_id].port}")
        for node_id, peer in unlisted(*nodes).items()
    }


def is_complete(node: Node, ids: tuple[str, ...]) -> bool:
    """Say whether the node is connected with all the others."""
    return all(node.network.is_connected(other) for other in ids if other != node.network.node_id)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def impostor(
    node: Node,
    node_id: str,
    *,
    identity: TlsIdentity | None = None,
    chain_id: bytes = CHAIN,
    incarnation: bytes = b"attacker",
    timing: Timing = QUICK,
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Connect to a node as a raw client that has said its hello and may now misbehave."""
    server = Peer(IDENTITIES[node.network.node_id].certificate, f"127.0.0.1:{node.port}", PeerKind.VALIDATOR)
    session = make_session()
    try:
        socket, _ = await dial(
            session,
            node.network.node_id,
            server,
            hello=Hello(chain_id, incarnation, node_id),
            context=make_client_context(identity or IDENTITIES[node_id], [server.certificate]),
            timing=timing,
        )
        try:
            yield socket
        finally:
            await close_socket(socket, code=1000, reason="", timeout_s=QUICK.close_s)
    finally:
        await session.close()


async def read_to_the_end(socket: aiohttp.ClientWebSocketResponse) -> aiohttp.WSMessage:
    """Read a raw client's frames until the connection is over, and return what ended it."""
    ends = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    async with asyncio.timeout(PATIENCE_S):
        while (message := await socket.receive()).type not in (*ends, aiohttp.WSMsgType.CLOSING):
            pass
    return message
