"""Turns: what clients have a node do, one short piece at a time.

The node's one loop serves clients and consensus alike. A piece of work for a client holds the loop while it lasts;
any number of clients may ask. So pieces are taken one by one, and between two of them the loop goes round once:
whatever consensus has to do waits for one piece, not for all.

Rule 1: a piece is short by itself: some milliseconds. Whoever has more to do takes several turns.
Rule 2: turns come in the order in which they were asked for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """One piece of work at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn; it ends with the block, and the loop goes round before the next."""
        async with self._lock:
            yield
            await asyncio.sleep(0)
