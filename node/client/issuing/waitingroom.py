"""Room for documents that wait for their anchors, and the place where callers wait for what changes in it.

Rule 1: at most `count_max` documents wait or come in; whoever brings more waits. A delivery larger than all the room
comes in alone.
Rule 2: once the issuer broke, everybody who waits here is told its error, and so is whoever comes later.
"""

import asyncio
from collections.abc import Callable


class WaitingRoom:
    """How many documents wait, and how many are coming in."""

    def __init__(self, count_waiting: Callable[[], int], *, count_max: int) -> None:
        """`count_waiting` returns how many documents of the register wait."""
        self._count_waiting = count_waiting
        self._count_max = count_max
        self._waiting_count = 0
        self._coming_count = 0
        self._changed = asyncio.Condition()
        self.error: BaseException | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no document waits or comes in."""
        return self._waiting_count + self._coming_count == 0

    async def take(self, count: int) -> None:
        """Return once there is room for so many documents, which is kept for them. Raises what the issuer broke of."""
        await self.wait_for(lambda: self._has_room(count))
        # Nothing else ran since there was room: leaving the condition does not wait.
        self._coming_count += count

    def _has_room(self, count: int) -> bool:
        return self.is_empty or self._waiting_count + self._coming_count + count <= self._count_max

    async def leave(self, count: int) -> None:
        """Give back what was taken: the documents are in the register now, or did not come."""
        self._coming_count -= count
        await self.recount()

    async def recount(self) -> None:
        """Look at the register again, and tell those who wait."""
        self.count()
        await self.notify()

    def count(self) -> None:
        """Look at the register, before anybody waits."""
        self._waiting_count = self._count_waiting()

    async def notify(self) -> None:
        """Let those who wait look again."""
        async with self._changed:
            self._changed.notify_all()

    async def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Return once something is so. Raises what the issuer broke of."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.error is not None or is_so())
        if self.error is not None:
            raise self.error
