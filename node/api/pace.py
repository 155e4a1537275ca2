"""How slow a client is, and what that costs it: a client that owes us bytes is *behind* (docs/pools.md).

Rule 1: being behind is counted in seconds. They pass from the moment at which a client owes something, and each byte
that it sends makes good its share of a second, at a rate. Bytes in advance make good little: no more than `ahead_s`.
Rule 2: a body has a time for all of it, and ends sooner where it is behind the least rate by too much: a byte now and
then buys no time.
Rule 3: a body that loses its place to another ends as one that is late, and says so.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

RATE_MIN: Final = 16 * 1024
"""Bytes in a second: whoever sends fewer falls behind until it is cut off."""
RATE_SPARED: Final = 1024 * 1024
"""Bytes in a second: whoever sends fewer goes before those who send as many, where places are short."""


class Pace:
    """How far a client is behind, which owes bytes since a time of the loop. It may get ahead by `ahead_s`."""

    def __init__(self, since_s: float, *, rate: int = RATE_MIN, ahead_s: float = 0.0) -> None:
        self._since_s = since_s
        self._rate = rate
        self._ahead_s = ahead_s

    def took(self, size: int, now_s: float) -> None:
        """Take note that so many bytes came."""
        self._since_s = min(now_s + self._ahead_s, self._since_s + size / self._rate)

    def late_s(self, allowed_s: float) -> float:
        """Return when a client will be behind by so many seconds if it sends nothing more."""
        return self._since_s + allowed_s

    def behind_s(self, now_s: float) -> float:
        """Return by how many seconds a client is behind; less than 0 where it is ahead."""
        return now_s - self._since_s


class Reading:
    """A body that is read as it comes. Use `limits` around all that reads it, and tell it what came.

    It begins paused, for whoever gives it room to let it `go_on`.
    """

    def __init__(self, *, whole_s: float, stall_s: float) -> None:
        """A body has `whole_s` seconds, and may be behind RATE_MIN by `stall_s`."""
        self._loop = asyncio.get_running_loop()
        now_s = self._loop.time()
        self._end_s, self._stall_s = now_s + whole_s, stall_s
        self._least, self._spared = Pace(now_s), Pace(now_s, rate=RATE_SPARED)
        self._paused_at_s: float | None = now_s
        self._timeout: asyncio.Timeout | None = None
        self.is_whole = False
        self.is_displaced = False

    @asynccontextmanager
    async def limits(self) -> AsyncIterator[None]:
        """Read within the limits. Raises TimeoutError, also where it is displaced."""
        async with asyncio.timeout_at(self._due_s()) as self._timeout:
            try:
                yield
            finally:
                self._timeout = None

    def pause(self) -> None:
        """Take note that it waits for us: no time passes for it."""
        self._paused_at_s = self._loop.time()
        self._reschedule()

    def go_on(self) -> None:
        """Take note that it waits no longer."""
        now_s = self._loop.time()
        if self._paused_at_s is not None:
            self._end_s += now_s - self._paused_at_s
            self._paused_at_s = None
        self._least, self._spared = Pace(now_s), Pace(now_s, rate=RATE_SPARED)
        self._reschedule()

    def took(self, size: int) -> None:
        """Take note that so many bytes of it came."""
        now_s = self._loop.time()
        self._least.took(size, now_s)
        self._spared.took(size, now_s)
        self._reschedule()

    def works(self, work_s: float) -> None:
        """Take note that all of it came; what is left is our work, for which there are so many seconds."""
        self._stall_s = work_s
        self.go_on()

    def behind_s(self) -> float:
        """Return by how many seconds it is behind what is spared."""
        return self._spared.behind_s(self._loop.time())

    def displace(self) -> None:
        """End it in favour of another."""
        self.is_displaced = True
        self._reschedule()

    def _due_s(self) -> float | None:
        if self.is_displaced:
            return self._loop.time()
        if self._paused_at_s is not None:
            return None
        return min(self._end_s, self._least.late_s(self._stall_s))

    def _reschedule(self) -> None:
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self._due_s())
