"""Received messages, waiting for the single consumer.

Rule 1: each peer has a lane of its own, bounded by count and bytes. A full lane makes `put` wait, so the
reader of that peer stops reading its socket and TCP slows that peer down; nobody else notices.
Rule 2: delivery goes round the lanes, one message a turn, so a flood delays others by one message at most.
Rule 3: within one lane, first in is first out.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from node.network.limits import INBOX_COUNT_MAX, INBOX_SIZE_MAX


class NetworkStopped(Exception):
    """The network has failed and delivers nothing more; the cause says why."""


@dataclass(slots=True)
class _Lane:
    messages: deque[bytes] = field(default_factory=deque)
    size: int = 0
    room: asyncio.Event = field(default_factory=asyncio.Event)

    def has_room(self, data: bytes) -> bool:
        return len(self.messages) < INBOX_COUNT_MAX and self.size + len(data) <= INBOX_SIZE_MAX


class ReceiveQueue:
    """Bounded lanes, one for each peer, emptied in turn."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._turns: deque[str] = deque()
        self._count = 0
        self._arrived = asyncio.Event()
        self._is_closed = False
        self._failure: BaseException | None = None

    def has_room(self, peer_id: str, data: bytes) -> bool:
        """Say whether `put` would take this message at once."""
        lane = self._lanes.get(peer_id)
        return lane is None or lane.has_room(data)

    async def put(self, peer_id: str, data: bytes) -> None:
        """Append a message to the peer's lane, waiting while the lane is full."""
        lane = self._lanes.get(peer_id)
        if lane is None:
            lane = self._lanes[peer_id] = _Lane()
        while not lane.has_room(data):
            lane.room.clear()
            await lane.room.wait()
        if self._is_closed or self._lanes.get(peer_id) is not lane:
            return
        if not lane.messages:
            self._turns.append(peer_id)
            self._arrived.set()
        lane.messages.append(data)
        lane.size += len(data)
        self._count += 1

    async def take_batch(self, count_max: int) -> list[tuple[str, bytes]]:
        """Wait for a message, then take up to `count_max` in turn. Empty means that the receive_queue is closed."""
        while not self._turns and not self._is_closed:
            self._arrived.clear()
            await self._arrived.wait()
        if self._failure is not None:
            raise NetworkStopped(f"the network stopped: {self._failure!r}") from self._failure
        if self._is_closed:
            return []
        return [self._take_next() for _ in range(min(count_max, self._count))]

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield messages in turn until the receive_queue is closed."""
        while batch := await self.take_batch(1):
            yield batch[0]

    def size(self, peer_id: str) -> tuple[int, int]:
        """Return how many messages, and how many bytes, wait from this peer."""
        lane = self._lanes.get(peer_id)
        return (0, 0) if lane is None else (len(lane.messages), lane.size)

    def forget(self, peer_id: str) -> None:
        """Drop what waits from this peer."""
        lane = self._lanes.pop(peer_id, None)
        if lane is None:
            return
        if lane.messages:
            self._turns.remove(peer_id)
        self._count -= len(lane.messages)
        lane.messages.clear()
        lane.size = 0
        lane.room.set()

    def close(self, failure: BaseException | None = None) -> None:
        """Deliver nothing more. With a failure, the consumer is told by NetworkStopped."""
        self._is_closed = True
        self._failure = self._failure or failure
        for peer_id in tuple(self._lanes):
            self.forget(peer_id)
        self._arrived.set()

    def _take_next(self) -> tuple[str, bytes]:
        peer_id = self._turns.popleft()
        lane = self._lanes[peer_id]
        data = lane.messages.popleft()
        lane.size -= len(data)
        self._count -= 1
        if lane.messages:
            self._turns.append(peer_id)
        lane.room.set()
        return peer_id, data
