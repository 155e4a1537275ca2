"""The listening side, up to the point where the peer is known.

Rule 1: a connection that has shown no pinned certificate yet is a *stranger's*. PENDING_COUNT_MAX of them have a place.
No newcomer is refused: where all places are taken, the address with the most of them loses its oldest. So one address
takes no place from others, and of one address those that are quick go on.
Rule 2: whoever was taken in has PENDING_SPARED_S before it can go. Until then newcomers wait in the system's queue, in
the order in which they came.
Rule 3: a connection that showed a pinned certificate leaves the strangers and has a place of its member, until its
hello is accepted: PENDING_PER_CERTIFICATE_MAX of each, and one more takes that of the oldest. Strangers take none.
Rule 4: a stranger costs no TLS before its first record is whole: until then its socket is only looked at.
Rule 5: both are given a time, for the TLS handshake and from there for the hello, and for the whole of each, so that a
byte now and then buys no time.
Rule 6: a certificate that is not pinned is cut off right after the handshake, before HTTP.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from node.network.connection import of_socket
from node.network.limits import (
    ACCEPT_RETRY_S,
    LISTEN_BACKLOG,
    PENDING_COUNT_MAX,
    PENDING_PER_CERTIFICATE_MAX,
    PENDING_SPARED_S,
    WINDOW_S,
    Timing,
)
from node.network.pathsize import limit_segments

PEER_PATH = "/luohu/peer"
FETCH_PATH = "/luohu/fetch"
"""Where a peer knocks that cannot pin us: it fetches, and reads nothing but answers (node.network.fetching)."""

logger = logging.getLogger(__name__)

RECORD_HEAD_SIZE = 5
RECORD_SIZE_MAX = 16 * 1024
# RFC 8446, 5.1: the type of a handshake record, and the first byte of the version that every TLS writes there.
HANDSHAKE_RECORD = b"\x16\x03"
# A socket that has bytes is always readable: whether it has more of them can only be looked at.
RECORD_LOOK_S = 0.02
HANDSHAKE_LEFT_S_MIN = 0.001

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(eq=False, slots=True)
class _Pending:
    address: str
    protocol: RequestHandler
    since_s: float
    certificate: bytes | None = None
    """The pinned certificate that it showed."""
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
        self._displaced_told_s = float("-inf")

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
            if (wait_s := self._wait_s()) > 0:
                await asyncio.sleep(wait_s)
                continue
            try:
                # Not the loop's sock_accept: where that is cancelled in the wrong moment, what it accepted is lost.
                accepted, address = self._listening.accept()
            except BlockingIOError:
                await _until_readable(self._listening)
                continue
            except OSError as error:
                logger.warning("network.accept_failed error=%s", error)
                if error.errno in _NO_DESCRIPTORS and self._strangers():
                    self._displace_stranger()
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

    def _strangers(self) -> list[_Pending]:
        """Return who has shown no pinned certificate, oldest first."""
        return [pending for pending in self._pending.values() if pending.certificate is None]

    def _wait_s(self) -> float:
        """Return for how many seconds nobody can be taken in."""
        strangers = self._strangers()
        if len(strangers) < PENDING_COUNT_MAX:
            return 0.0
        spared_s = PENDING_SPARED_S - (asyncio.get_running_loop().time() - _first_to_go(strangers).since_s)
        return max(0.0, spared_s)

    def _take_in(self, accepted: socket.socket, address: str) -> None:
        assert self._server is not None, "bind comes first"
        if len(self._strangers()) >= PENDING_COUNT_MAX:
            self._displace_stranger()
        pending = _Pending(address, self._server(), asyncio.get_running_loop().time())
        accepted.setblocking(False)
        self._pending[pending.protocol] = pending
        pending.task = asyncio.create_task(self._welcome(pending, accepted))
        self._tasks.add(pending.task)
        pending.task.add_done_callback(self._tasks.discard)
        pending.task.add_done_callback(lambda _: self._forget(pending, accepted))

    def _displace_stranger(self) -> None:
        self._displace(_first_to_go(self._strangers()))

    def _displace(self, pending: _Pending) -> None:
        self.refused_count += 1
        now_s = asyncio.get_running_loop().time()
        if now_s - self._displaced_told_s >= WINDOW_S:
            self._displaced_told_s = now_s
            logger.warning("peer.displaced address=%s count=%d", pending.address, self.refused_count)
        self._pending.pop(pending.protocol)
        assert pending.task is not None, "a pending connection has a task from the start"
        pending.task.cancel()

    def _note_pinned(self, pending: _Pending, certificate: bytes) -> None:
        same = [each for each in self._pending.values() if each.certificate == certificate]
        if len(same) >= PENDING_PER_CERTIFICATE_MAX:
            self._displace(same[0])
        pending.certificate = certificate

    def _forget(self, pending: _Pending, accepted: socket.socket) -> None:
        self._pending.pop(pending.protocol, None)
        if pending.protocol.transport is None:
            # Cancelled before the handshake began, or ended within it: nobody else owns the socket.
            accepted.close()

    async def _welcome(self, pending: _Pending, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timing.handshake_s) as time_left:
                await _until_first_record(accepted)
                until_s = time_left.when()
            assert until_s is not None, "it has a time"
            transport, _ = await loop.connect_accepted_socket(
                lambda: pending.protocol,
                accepted,
                ssl=self.context,
                ssl_handshake_timeout=max(HANDSHAKE_LEFT_S_MIN, until_s - loop.time()),
                ssl_shutdown_timeout=self._timing.close_s,
            )
        except OSError as error:
            logger.debug("peer.handshake_failed address=%s error=%s", pending.address, error)
            # Its frames hold what failed, and it is held by a future that they hold: a quarter of a MiB each time.
            error.__traceback__ = None
            return
        try:
            tls = of_socket(transport, "ssl_object")
            if tls is None:
                return
            certificate = tls.getpeercert(binary_form=True)
            if not self._is_pinned(certificate):
                logger.warning(
                    "peer.refused address=%s reason=%s", pending.address, "certificate is not pinned"
                )
                return
            self._note_pinned(pending, certificate)
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


def _first_to_go(strangers: list[_Pending]) -> _Pending:
    """Return the oldest of the address that has most of these, which come oldest first."""
    counts = Counter(pending.address for pending in strangers)
    # The first of those that have as many is the one of which the oldest came first.
    address, _ = counts.most_common(1)[0]
    return next(pending for pending in strangers if pending.address == address)


async def _until_first_record(accepted: socket.socket) -> None:
    """Return once a first TLS record is whole, or what came is none. Raises OSError where nothing more comes."""
    await _until_readable(accepted)
    while True:
        came = accepted.recv(RECORD_HEAD_SIZE + RECORD_SIZE_MAX, socket.MSG_PEEK)
        if not came:
            raise ConnectionResetError("it left")
        head = came[:RECORD_HEAD_SIZE]
        if not HANDSHAKE_RECORD.startswith(head[: len(HANDSHAKE_RECORD)]):
            raise ConnectionResetError("what it says is no TLS")
        if len(head) == RECORD_HEAD_SIZE:
            size = int.from_bytes(head[3:])
            if size > RECORD_SIZE_MAX:
                raise ConnectionResetError("its first record is too large")
            if len(came) >= RECORD_HEAD_SIZE + size:
                return
        await asyncio.sleep(RECORD_LOOK_S)


async def _until_readable(listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(listening, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(listening)
