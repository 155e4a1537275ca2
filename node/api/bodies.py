"""Room for the bodies that are held at once (docs/pools.md).

Rule 1: a body needs no room until SMALL_SIZE of it came: as many as there are connections are borne. So nobody takes
room by announcing much and sending little.
Rule 2: larger ones have BODIES_SIZE_MAX in all, each as much as it announces, until it is answered. Others wait for it,
at most WAITING_MAX of them (`node/api/pool.py`).
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from node.api import route as routes
from node.api.pace import Reading
from node.api.pool import Pool
from node.api.route import BODY, BODY_SIZE_MAX, too_large

SMALL_SIZE: Final = 64 * 1024
BODIES_SIZE_MAX: Final = 6 * BODY_SIZE_MAX
WAITING_MAX: Final = 32

BODIES: Final = "bodies"


class RequestBodies:
    """Who has room for a large body."""

    def __init__(self, on_displaced: Callable[[str], None] = lambda _pool: None) -> None:
        self._pool = Pool(
            "room for all large requests at once",
            size_max=BODIES_SIZE_MAX,
            waiting_max=WAITING_MAX,
            on_displaced=lambda: on_displaced(BODIES),
        )

    @asynccontextmanager
    async def place_for(self, request: web.Request) -> AsyncIterator[None]:
        """Let a request's body be read, and held while it is answered. Raises RouteError."""
        if (request.content_length or 0) > BODY_SIZE_MAX:
            raise too_large(f"{request.content_length} bytes")
        body = _Body(self._pool, request)
        request[BODY] = body
        try:
            yield
        finally:
            self._pool.leave(body.reading)


class _Body:
    """The body of a request. Implements `node.api.route.Body`."""

    def __init__(self, pool: Pool, request: web.Request) -> None:
        self._pool = pool
        self._request = request
        self._size = 0
        self.reading = Reading(whole_s=routes.BODY_S, stall_s=routes.BODY_STALL_S)
        self.reading.go_on()

    async def took(self, size: int) -> None:
        """Take note that so many bytes came; wait for room where it has grown. Raises RouteError."""
        has_grown = self._size <= SMALL_SIZE < self._size + size
        self._size += size
        self.reading.took(size)
        if has_grown:
            self.reading.pause()
            await self._pool.enter(self._request, self.reading, self.room_size)

    @property
    def room_size(self) -> int:
        """How much room it has, in bytes: what it announces where it is large, or else 0."""
        if self._size <= SMALL_SIZE:
            return 0
        announced = self._request.content_length
        return BODY_SIZE_MAX if announced is None else announced
