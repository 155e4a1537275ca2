"""The state that this node keeps about one peer, connected or not.

Rule 1: at most one connection is *the* connection of a pair. Where both sides dialled, the one dialled by
the smaller node id stays; both sides decide alike, so one of the two survives. The side with the smaller id
first awaits its own attempt, for a moment, so that nothing is sent on a connection that is about to give way.
Rule 2: a hello with another incarnation means that the peer restarted: whatever is left of the old
connection is dead and gives way, whoever dialled.
Rule 3: a connection on which the peer only fetches, since it cannot pin what we show, is served and is no connection of
the pair: we go on dialling, and it gives way to every other.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from node.network.connection import Connection
from node.network.limits import CONNECTS_PER_WINDOW_MAX, WINDOW_S
from node.network.pathsize import PathSize
from node.network.registry import Peer, PeerKind
from node.network.sendqueue import SendQueue


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What an operator sees of one peer. Counts and sizes are of what waits; dropped is since the start."""

    peer_id: str
    kind: PeerKind
    is_connected: bool
    refused_for_s: float
    inbox_count: int
    inbox_size: int
    outbox_count: int
    outbox_size: int
    outbox_dropped_count: int
    is_swallowing: bool
    """Whether small packets pass to it and large ones did not."""


@dataclass(eq=False, slots=True)
class Link:
    """One peer: its registration, its send_queue, its connection if any, and until when it is refused."""

    peer_id: str
    peer: Peer
    send_queue: SendQueue
    path: PathSize
    connection: Connection | None = None
    hung_up_count: int = 0
    """How often in a row the peer hung up on us. Above 0 we show another certificate each time."""
    dialer: asyncio.Task[None] | None = None
    refused_until: float = 0.0
    refusal_reason: str = ""
    is_down: asyncio.Event = field(default_factory=asyncio.Event)
    dial_over: asyncio.Event = field(default_factory=asyncio.Event)
    connected_at: deque[float] = field(default_factory=lambda: deque(maxlen=CONNECTS_PER_WINDOW_MAX))

    def __post_init__(self) -> None:
        self.is_down.set()
        self.dial_over.set()

    def prefers(self, *, dialer_id: str, incarnation: bytes, own_id: str, is_fetching: bool = False) -> bool:
        """Say whether a new connection dialled by this side takes the place of what there is."""
        current = self.connection
        if current is None or current.is_fetching or current.incarnation != incarnation:
            return True
        if is_fetching:
            return False
        return current.dialer_id == dialer_id or dialer_id == min(own_id, self.peer_id)

    @property
    def is_connected(self) -> bool:
        """Say whether the pair has a connection (rule 3)."""
        return self.connection is not None and not self.connection.is_fetching

    def is_connecting_too_often(self, now: float) -> bool:
        """Note a new connection, and say whether there were too many within the window."""
        times = self.connected_at
        is_full = len(times) == CONNECTS_PER_WINDOW_MAX and now - times[0] < WINDOW_S
        times.append(now)
        return is_full

    def status(self, inbox_usage: tuple[int, int]) -> PeerStatus:
        """Return what there is to see of this peer."""
        inbox_count, inbox_size = inbox_usage
        return PeerStatus(
            peer_id=self.peer_id,
            kind=self.peer.kind,
            is_connected=self.is_connected,
            refused_for_s=max(0.0, self.refused_until - asyncio.get_running_loop().time()),
            inbox_count=inbox_count,
            inbox_size=inbox_size,
            outbox_count=len(self.send_queue),
            outbox_size=self.send_queue.size,
            outbox_dropped_count=self.send_queue.dropped_count,
            is_swallowing=self.path.is_swallowing,
        )
