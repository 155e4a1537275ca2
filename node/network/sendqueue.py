"""Messages waiting to be sent to one peer.

Rule 1: bounded by count and bytes; `put` never waits, so one slow peer never holds up the event loop.
Rule 2: when full, the oldest messages go. Closing the connection instead would lose all of them and add a
handshake; the newest are what a peer that lags needs most, and every user of this transport asks or tells
again (consensus re-broadcasts while it stands still, a fetch is retried). A peer that takes nothing at all
is closed by its connection's watch.
Rule 3: order is kept, with and without a delay.
"""

import asyncio
from collections import deque

from node.network.limits import OUTBOX_COUNT_MAX, OUTBOX_SIZE_MAX


class SendQueue:
    """A bounded queue with one reader. `delay_s` holds messages back: for measurement on loopback only."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self.dropped_count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._size

    def put(self, data: bytes) -> None:
        """Append a message, dropping the oldest where it would not fit."""
        while self._waiting and (
            len(self._waiting) >= OUTBOX_COUNT_MAX or self._size + len(data) > OUTBOX_SIZE_MAX
        ):
            self._pop()
            self.dropped_count += 1
        ready_at = asyncio.get_running_loop().time() + self._delay_s if self._delay_s else 0.0
        self._waiting.append((ready_at, data))
        self._size += len(data)
        self._arrived.set()

    async def take(self) -> bytes:
        """Wait for the oldest message that may go, and take it."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            if not self._delay_s:
                return self._pop()
            remaining_s = self._waiting[0][0] - asyncio.get_running_loop().time()
            if remaining_s <= 0:
                return self._pop()
            await asyncio.sleep(remaining_s)

    def clear(self) -> None:
        """Drop everything: the peer is gone."""
        self._waiting.clear()
        self._size = 0

    def _pop(self) -> bytes:
        _, data = self._waiting.popleft()
        self._size -= len(data)
        return data
