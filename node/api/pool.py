"""Room that few have at a time, for what is read slowly: the others wait for it in the order in which they came.

Rule 1: whoever is read at a good pace keeps its room. Who is behind by SPARED_S, while somebody waits, loses it to the
first that waits; where several are, the one that is furthest behind.
Rule 2: what is whole keeps its room until it gives it back.
Rule 3: those who wait are bounded in number and in time. It is we who keep them waiting, so they lose no place for it
(`node/api/places.py`, rule 2).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from node.api.connection import connection_of
from node.api.pace import Reading
from node.api.route import RouteError

SPARED_S: Final = 0.1
WAIT_S: Final = 10.0


@dataclass(eq=False, slots=True)
class _Waiting:
    reading: Reading
    size: int
    granted: "asyncio.Future[None]"


class Pool:
    """Who has room, and who waits for it."""

    def __init__(
        self, what: str, *, size_max: int, waiting_max: int, on_displaced: Callable[[], None] = lambda: None
    ) -> None:
        """`what` is asked of whoever finds no room; sizes are in any unit."""
        self._what = what
        self._size_max = size_max
        self._waiting_max = waiting_max
        self._on_displaced = on_displaced
        self._sizes: dict[Reading, int] = {}
        self._waiting: deque[_Waiting] = deque()
        self._look: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """How many have room."""
        return len(self._sizes)

    @property
    def size(self) -> int:
        """How much room is taken."""
        return sum(self._sizes.values())

    @asynccontextmanager
    async def room(self, request: web.Request, reading: Reading, size: int = 1) -> AsyncIterator[None]:
        """Have room for what is read, once there is some. Raises RouteError where too many wait, or for too long."""
        await self.enter(request, reading, size)
        try:
            yield
        finally:
            self.leave(reading)

    async def enter(self, request: web.Request, reading: Reading, size: int = 1) -> None:
        """Take room; give it back with `leave`. Raises RouteError."""
        waiting = _Waiting(reading, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._serve()
        if waiting.granted.done():
            return
        if len(self._waiting) > self._waiting_max:
            self._waiting.remove(waiting)
            raise self._busy()
        try:
            with connection_of(request).kept_waiting():
                async with asyncio.timeout(WAIT_S):
                    await waiting.granted
        except BaseException as error:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            self.leave(reading)
            if isinstance(error, TimeoutError):
                raise self._busy() from error
            raise

    def leave(self, reading: Reading) -> None:
        """Give room back, or what is left of it."""
        self._sizes.pop(reading, None)
        self._serve()

    def _serve(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        while self._waiting:
            first = self._waiting[0]
            if first.granted.cancelled():
                # It left, and is not done with that yet.
                self._waiting.popleft()
                continue
            if self.size + first.size > self._size_max and not self._displace():
                return
            if self.size + first.size <= self._size_max:
                self._waiting.popleft()
                self._sizes[first.reading] = first.size
                first.reading.go_on()
                first.granted.set_result(None)

    def _displace(self) -> bool:
        """Take the room of the one that is furthest behind, or look again when it may be."""
        coming = [reading for reading in self._sizes if not reading.is_whole]
        if not coming:
            return False
        furthest = max(coming, key=Reading.behind_s)
        left_s = SPARED_S - furthest.behind_s()
        if left_s > 0:
            self._look = asyncio.get_running_loop().call_later(left_s, self._serve)
            return False
        del self._sizes[furthest]
        self._on_displaced()
        furthest.displace()
        return True

    def _busy(self) -> RouteError:
        cure = "Send it at once, or come again later."
        return RouteError(status=503, code="busy", where="body", expected=self._what, found="none", cure=cure)
