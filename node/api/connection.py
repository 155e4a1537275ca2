"""Connections: what is bounded before a request has reached a route.

Rule 1: at most CONNECTIONS_MAX connections; one more is told to come again and closed.
Rule 2: headers are whole within IDLE_S, or the connection is closed. So is one that idles between requests.
Rule 3: a client that does not take its answer for STALL_S is cut off.
Rule 4: what is not HTTP gets the JSON refusal of every other fault. So does our own failure, which is a 500,
logged here and without a word of it to the client.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web

from node.api.route import refuse

CONNECTIONS_MAX: Final = 256
IDLE_S: Final = 20.0
LINGER_S: Final = 2.0
STALL_S: Final = 30.0
HEADER_SIZE_MAX: Final = 8_190

logger = logging.getLogger(__name__)

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
_FULL_BODY: Final = (
    b'{"error": {"code": "busy", "where": "connections", "expected": "at most %d", "found": "that many", '
    b'"cure": "Close what you do not use, and come again later."}}'
) % CONNECTIONS_MAX


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_server", "_stall")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, *, idle_s: float) -> None:
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
        self._server = server
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or turn it away where there are too many."""
        if len(self._server.connections) >= CONNECTIONS_MAX:
            assert isinstance(transport, asyncio.WriteTransport), "TCP connections can be written to"
            transport.write(_FULL % (len(_FULL_BODY), _FULL_BODY))
            transport.close()
            self._force_close = True
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note that the client left."""
        self._end_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Take note that the client does not read what was written."""
        super().pause_writing()
        self._end_stall()
        self._stall = asyncio.get_running_loop().call_later(STALL_S, self._cut_off)

    def resume_writing(self) -> None:
        """Take note that the client reads again."""
        self._end_stall()
        super().resume_writing()

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _cut_off(self) -> None:
        if self.transport is not None:
            self.transport.abort()

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


def connections_of(server: web.Server, *, idle_s: float = IDLE_S) -> Callable[[], Connection]:
    """Return what makes a connection for each client that a listener accepts."""
    loop = asyncio.get_running_loop()
    return lambda: Connection(server, loop, idle_s=idle_s)
