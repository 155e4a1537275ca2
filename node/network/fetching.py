"""Connections to peers that cannot be pinned, to fetch from them and for nothing else (docs/sync.md, Stale pins).

Rule 1: a node dials so only where the pinned dial found another certificate. It shows its own, which the other side
pins; who the other side is, it does not know, and so believes nothing that is not proven.
Rule 2: such a peer has a name of its own, that no registered node can have. It is never one of those that a broadcast
reaches, and whoever sends by the registered name does not reach it.
Rule 3: a connection ends after FETCH_S, so that the pin is tried again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from node.network.connection import (
    CLOSE_GOING_AWAY,
    CLOSE_TIMED_REFUSAL,
    Connection,
    ConnectionEnded,
    WebSocket,
)
from node.network.hello import Hello
from node.network.limits import Timing
from node.network.pathsize import PathSize
from node.network.receivequeue import ReceiveQueue
from node.network.sendqueue import SendQueue
from node.peernames import unpinned

logger = logging.getLogger(__name__)

FETCH_S: Final = 60.0


class Fetching:
    """The connections of one node to peers that it cannot pin."""

    def __init__(
        self,
        receive_queue: ReceiveQueue,
        timing: Timing,
        on_up: Callable[[str], None],
        on_down: Callable[[str], None],
    ) -> None:
        self._receive_queue = receive_queue
        self._timing = timing
        self._on_up = on_up
        self._on_down = on_down
        self._open: dict[str, tuple[Connection, SendQueue]] = {}
        self._refused_until: dict[str, float] = {}

    def is_refused(self, peer_id: str) -> bool:
        """Say whether who answers at this peer's address is refused for now."""
        return self._refused_until.get(unpinned(peer_id), 0.0) > asyncio.get_running_loop().time()

    async def carry(
        self, peer_id: str, socket: WebSocket, hello: Hello, *, own_id: str, path: PathSize
    ) -> None:
        """Carry messages until the connection ends."""
        name, send_queue = unpinned(peer_id), SendQueue()
        connection = Connection(
            socket,
            peer_id=name,
            dialer_id=own_id,
            incarnation=hello.incarnation,
            receive_queue=self._receive_queue,
            send_queue=send_queue,
            timing=self._timing,
            path=path,
        )
        loop = asyncio.get_running_loop()
        limit = loop.call_later(FETCH_S, connection.end, CLOSE_GOING_AWAY, "the pin is tried again")
        self._open[name] = (connection, send_queue)
        logger.warning("peer.unpinned peer=%s: fetching only, verifying everything", peer_id)
        self._on_up(name)
        try:
            ended = await connection.carry()
            await connection.close(ended)
        except asyncio.CancelledError:
            await connection.close(ConnectionEnded(CLOSE_GOING_AWAY, "the peer is dialled no more"))
            raise
        finally:
            limit.cancel()
            connection.closed.set()
            del self._open[name]
            self._receive_queue.forget(name)
            self._on_down(name)

    def send(self, name: str, data: bytes) -> bool:
        """Queue a message; False where there is no such connection."""
        found = self._open.get(name)
        if found is None:
            return False
        found[1].put(data)
        return True

    def disconnect(self, name: str, reason: str, seconds: float) -> None:
        """End a connection, and dial that address no more for a time."""
        self._refused_until[name] = asyncio.get_running_loop().time() + seconds
        found = self._open.get(name)
        if found is not None:
            found[0].end(CLOSE_TIMED_REFUSAL, reason)

    def end(self, peer_id: str, reason: str) -> None:
        """End a connection: the peer can be pinned now, or is gone."""
        found = self._open.get(unpinned(peer_id))
        if found is not None:
            found[0].end(CLOSE_GOING_AWAY, reason)
