"""The state that this node keeps about one peer, connected or not.

Rule 1: at most one connection is *the* connection of a pair. Where both sides dialled, the one dialled by the
smaller node id stays; both sides decide alike, so one of the two survives.
Rule 2: a hello with another incarnation means that the peer restarted: whatever is left of the old connection is
dead and gives way, whoever dialled.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from node.network.connection import Connection
from node.network.limits import CONNECTS_PER_WINDOW_MAX, WINDOW_S
from node.network.outbox import Outbox
from node.network.registry import Peer


@dataclass(eq=False, slots=True)
class Link:
    """One peer: its registration, its outbox, its connection if there is one, and until when it is refused."""

    peer_id: str
    peer: Peer
    outbox: Outbox
    connection: Connection | None = None
    dialer: asyncio.Task[None] | None = None
    refused_until: float = 0.0
    refusal_reason: str = ""
    is_down: asyncio.Event = field(default_factory=asyncio.Event)
    connected_at: deque[float] = field(default_factory=lambda: deque(maxlen=CONNECTS_PER_WINDOW_MAX))

    def __post_init__(self) -> None:
        self.is_down.set()

    def prefers(self, *, dialer_id: str, incarnation: bytes, own_id: str) -> bool:
        """Say whether a new connection dialled by this side takes the place of what there is."""
        current = self.connection
        if current is None or current.incarnation != incarnation or current.dialer_id == dialer_id:
            return True
        return dialer_id == min(own_id, self.peer_id)

    def is_connecting_too_often(self, now: float) -> bool:
        """Note a new connection, and say whether there were too many within the window."""
        times = self.connected_at
        is_full = len(times) == CONNECTS_PER_WINDOW_MAX and now - times[0] < WINDOW_S
        times.append(now)
        return is_full
