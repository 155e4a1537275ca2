"""Connections: what is bounded before a request has reached a route.

Rule 1: at most CONNECTIONS_MAX connections, which have their places as `node/api/places.py` says.
Rule 2: a head is whole within HEAD_S of its first byte and HEAD_SIZE_MAX bytes, or the connection is closed. One that
says nothing, at first or between requests, is closed after IDLE_S.
Rule 3: a client that does not take its answer for STALL_S is cut off.
Rule 4: what is not HTTP gets the JSON refusal of every other fault. So does our own failure, which is a 500,
logged here and without a word of it to the client.
Rule 5: nobody works on for a client that left.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from node.api.pace import Pace
from node.api.places import Places
from node.api.route import Route, refuse

CONNECTIONS_MAX: Final = 608
IDLE_S: Final = 20.0
HEAD_S: Final = 10.0
LINGER_S: Final = 2.0
STALL_S: Final = 30.0
AHEAD_S: Final = 1.0
HEADER_SIZE_MAX: Final = 8_190
HEAD_SIZE_MAX: Final = 64 * 1024

logger = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = (
        "_body",
        "_head_end",
        "_head_size",
        "_is_cut_off",
        "_is_kept_waiting",
        "_is_stream",
        "_pace",
        "_places",
        "_request",
        "_stall",
    )

    def __init__(
        self, server: web.Server, loop: asyncio.AbstractEventLoop, places: Places, *, idle_s: float
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=idle_s,
            lingering_time=LINGER_S,
            max_line_size=HEADER_SIZE_MAX,
            max_field_size=HEADER_SIZE_MAX,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]
        )
        self._places = places
        self._pace = Pace(loop.time(), ahead_s=AHEAD_S)
        self._request: web.BaseRequest | None = None
        self._is_stream = False
        # The body of the newest request of which the head is whole, answered already or not.
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head_size = 0
        self._head_end: asyncio.TimerHandle | None = None
        self._stall: tuple[float, asyncio.TimerHandle] | None = None
        self._is_cut_off = False
        self._is_kept_waiting = False

    # -- its place -----------------------------------------------------------------------------------------

    @property
    def unread_size(self) -> int:
        """How many bytes of its answers the client does not take; 0 where it takes them."""
        if self._stall is None or self.transport is None:
            return 0
        return self.transport.get_write_buffer_size()

    def behind_s(self, now_s: float) -> float | None:
        """Return by how many seconds the client is behind; None where it is we who owe something."""
        if self._stall is not None:
            return now_s - self._stall[0]
        if self._is_kept_waiting or (self._request is not None and self._request.content.is_eof()):
            return None
        return self._pace.behind_s(now_s)

    def cut_off(self) -> None:
        """End at once, whatever was not sent."""
        self._is_cut_off = True
        if self.transport is not None:
            self.transport.abort()

    @contextmanager
    def answering(self, request: web.BaseRequest, route: Route) -> Iterator[None]:
        """Have a request under way. Raises RouteError where too many are."""
        with self._places.request(self, route):
            self._request, self._is_stream = request, route.is_stream
            try:
                yield
            finally:
                self._request = None
                self._pace = Pace(self._loop.time(), ahead_s=AHEAD_S)

    @contextmanager
    def kept_waiting(self) -> Iterator[None]:
        """Have it wait for us, though it has more to send. Raises RouteError where others took its place meanwhile."""
        with self._places.kept_waiting(self):
            self._is_kept_waiting = True
            try:
                yield
            finally:
                self._is_kept_waiting = False
                # It was ready: nobody who sent more meanwhile is ahead of it.
                self._pace = Pace(self._loop.time() + AHEAD_S, ahead_s=AHEAD_S)

    def set_aside(self) -> None:
        """Have its request hold no place among those under way: it waits where that is bounded elsewhere."""
        self._places.set_aside(self)

    # -- what the transport tells --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless the place is somebody else's already."""
        super().connection_made(transport)
        if self._is_cut_off:
            self.cut_off()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note that the client left."""
        self._places.leave(self)
        self._end_stall()
        self._end_head()
        is_whole = self._request is not None and self._request.content.is_eof() and not self._is_stream
        is_awaited = is_whole or self._is_kept_waiting
        task = self._task_handler
        super().connection_lost(exc)
        if is_awaited and task is not None:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what came, and note what it was part of."""
        count, is_body = self._request_count, not self._body.is_eof()
        super().data_received(data)
        if self._request_count != count:
            self._body = self._messages[-1][1]
            self._pace.took(self._body.total_bytes, self._loop.time())
            self._end_head()
        elif is_body:
            self._pace.took(len(data), self._loop.time())
        elif data.strip(b"\r\n"):
            # Empty lines before a head are no part of it (RFC 9112, 2.2).
            self._took_head(len(data))

    def pause_writing(self) -> None:
        """Take note that the client does not read what was written."""
        super().pause_writing()
        self._end_stall()
        self._stall = (self._loop.time(), self._loop.call_later(STALL_S, self.cut_off))
        self._places.bound_unread()

    def resume_writing(self) -> None:
        """Take note that the client reads again."""
        self._end_stall()
        super().resume_writing()

    def _took_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_SIZE_MAX:
            self.cut_off()
        elif self._head_end is None:
            self._head_end = self._loop.call_later(HEAD_S, self.cut_off)

    def _end_head(self) -> None:
        self._head_size = 0
        if self._head_end is not None:
            self._head_end.cancel()
            self._head_end = None

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall[1].cancel()
            self._stall = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, or our own failure."""
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        if status >= 500:
            logger.error("api.failure path=%s", ascii(request.path)[:200], exc_info=exc)
            cure = "Report it with the node's log."
            response = refuse(500, "internal", "node", expected="an answer", found="a failure", cure=cure)
        else:
            cure = "Send HTTP/1.1 as RFC 9112 has it."
            found = ascii(message or "something else")[:120]
            response = refuse(400, "http", "request", expected="an HTTP request", found=found, cure=cure)
        response.force_close()
        return response


def make_places(on_displaced: Callable[[str], None]) -> Places:
    """Return the places of one listener's connections, all free; `on_displaced` is told the pool of who lost one."""
    return Places(count_max=CONNECTIONS_MAX, on_displaced=on_displaced)


def connections_of(server: web.Server, places: Places, *, idle_s: float = IDLE_S) -> Callable[[], Connection]:
    """Return what makes a connection for each client that a listener accepts."""
    loop = asyncio.get_running_loop()
    return lambda: Connection(server, loop, places, idle_s=idle_s)


def connection_of(request: web.BaseRequest) -> Connection:
    """Return the connection that a request came on."""
    connection = request.protocol
    assert isinstance(connection, Connection), "every listener of ours makes these"
    return connection
