"""The listening side, up to the point where the peer is known.

Rule 1: a connection whose peer is not known yet is *pending*. Pending connections are counted in all and
for each IP address. One address past its share is closed at once, which costs us nothing; when all places
are taken, the oldest goes, since an honest handshake is quick and a slow one may well be an attack.
Rule 2: a pending connection has a deadline for the TLS handshake, and from there one for the hello. Both
are for the whole, so that a byte now and then buys no time.
Rule 3: a certificate that is not pinned is cut off right after the handshake, before HTTP.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from node.network.limits import (
    ACCEPT_RETRY_S,
    LISTEN_BACKLOG,
    PENDING_COUNT_MAX,
    PENDING_PER_ADDRESS_MAX,
    Timing,
)
from node.network.pathsize import limit_segments

PEER_PATH = "/luohu/peer"
FETCH_PATH = "/luohu/fetch"
"""Where a peer knocks that cannot pin us: it fetches, and reads nothing but answers (node.network.fetching)."""

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Pending:
    address: str
    protocol: RequestHandler
    known: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Listener:
    """Accepts connections, and hands over those that opened a WebSocket with a pinned certificate.

    `serve` gets the WebSocket and must call `admit` once it knows the peer, within `Timing.hello_s`.
    """

    def __init__(
        self,
        serve: Callable[[web.WebSocketResponse, web.BaseRequest], Awaitable[None]],
        *,
        make_socket: Callable[[], web.WebSocketResponse],
        is_pinned: Callable[[bytes | None], bool],
        context: ssl.SSLContext,
        timing: Timing,
    ) -> None:
        self.context = context
        self.refused_count = 0
        self._serve = serve
        self._make_socket = make_socket
        self._is_pinned = is_pinned
        self._timing = timing
        self._pending: dict[RequestHandler, _Pending] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: web.Server | None = None
        self._listening: socket.socket | None = None

    @property
    def pending_count(self) -> int:
        """How many accepted connections have no known peer yet."""
        return len(self._pending)

    def bind(self, host: str, port: int) -> int:
        """Listen, and return the port (the one chosen by the system for port 0)."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
        self._listening.setblocking(False)
        self._server = web.Server(self._handle, access_log=None, keepalive_timeout=0, lingering_time=0)
        return int(self._listening.getsockname()[1])

    async def accept_forever(self) -> None:
        """Accept connections until cancelled."""
        assert self._listening is not None, "bind comes first"
        while True:
            try:
                # Not the loop's sock_accept: where that is cancelled in the wrong moment, what it accepted is lost.
                accepted, address = self._listening.accept()
            except BlockingIOError:
                await _until_readable(self._listening)
                continue
            except OSError as error:
                logger.warning("network.accept_failed error=%s", error)
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            self._take_in(accepted, str(address[0]))
            # Connections may queue up: a flood must not own the event loop.
            await asyncio.sleep(0)

    def limit_segments(self, size: int) -> None:
        """Give connections that are accepted from now on segments of at most `size` bytes; 0 takes the limit away."""
        if self._listening is not None:
            limit_segments(self._listening, size)

    def admit(self, request: web.BaseRequest) -> None:
        """Note that the peer of this connection is known: it is pending no longer."""
        pending = self._pending.pop(request.protocol, None)
        if pending is not None:
            pending.known.set()

    async def close(self) -> None:
        """Stop listening and cut off every connection that is left."""
        if self._listening is not None:
            self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.shutdown(self._timing.close_s)

    def _take_in(self, accepted: socket.socket, address: str) -> None:
        assert self._server is not None, "bind comes first"
        same_address_count = sum(1 for pending in self._pending.values() if pending.address == address)
        if same_address_count >= PENDING_PER_ADDRESS_MAX:
            self.refused_count += 1
            accepted.close()
            return
        if len(self._pending) >= PENDING_COUNT_MAX:
            self._evict(next(iter(self._pending.values())))
        pending = _Pending(address, self._server())
        accepted.setblocking(False)
        self._pending[pending.protocol] = pending
        pending.task = asyncio.create_task(self._welcome(pending, accepted))
        self._tasks.add(pending.task)
        pending.task.add_done_callback(self._tasks.discard)
        pending.task.add_done_callback(lambda _: self._forget(pending, accepted))

    def _evict(self, pending: _Pending) -> None:
        self.refused_count += 1
        self._pending.pop(pending.protocol)
        assert pending.task is not None, "a pending connection has a task from the start"
        pending.task.cancel()

    def _forget(self, pending: _Pending, accepted: socket.socket) -> None:
        self._pending.pop(pending.protocol, None)
        if pending.protocol.transport is None:
            # Cancelled before the handshake began, or ended within it: nobody else owns the socket.
            accepted.close()

    async def _welcome(self, pending: _Pending, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: pending.protocol,
                accepted,
                ssl=self.context,
                ssl_handshake_timeout=self._timing.handshake_s,
                ssl_shutdown_timeout=self._timing.close_s,
            )
        except OSError as error:
            logger.debug("peer.handshake_failed address=%s error=%s", pending.address, error)
            return
        try:
            tls = transport.get_extra_info("ssl_object")
            if not self._is_pinned(tls.getpeercert(binary_form=True)):
                logger.warning(
                    "peer.refused address=%s reason=%s", pending.address, "certificate is not pinned"
                )
                return
            async with asyncio.timeout(self._timing.hello_s):
                await pending.known.wait()
        except TimeoutError:
            logger.info("peer.refused address=%s reason=%s", pending.address, "no hello in time")
        finally:
            if not pending.known.is_set():
                transport.abort()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in (PEER_PATH, FETCH_PATH):
            return web.Response(status=404, text=f"path: expected {PEER_PATH}\n")
        opened = self._make_socket()
        try:
            await opened.prepare(request)
        except web.HTTPException as refusal:
            # No WebSocket: whoever asked is told so before the connection ends.
            return web.Response(status=refusal.status, text=refusal.text)
        except ConnectionError as error:
            return self._left(request, error)
        try:
            await self._serve(opened, request)
        except ConnectionError as error:
            return self._left(request, error)
        finally:
            if request.transport is not None:
                request.transport.abort()
        return opened

    @staticmethod
    def _left(request: web.BaseRequest, error: ConnectionError) -> web.Response:
        # It left before it was answered, as a node does that ends. aiohttp would take it for a failure of ours.
        logger.info("peer.left address=%s reason=%s", request.remote, error)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


async def _until_readable(listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(listening, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(listening)
