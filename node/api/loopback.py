"""HTTP on loopback, for every server of ours.

Rule 1: a server listens on loopback only: it has no TLS and no client authentication yet. A request whose Host is
another name is refused, so that no web page reaches it by pointing a name of its own at this machine.
Rule 2: what the HTTP library refuses is refused in the words of every other fault.
Rule 3: newcomers are accepted a few at a time, and what they sent is read in between: so whoever sends a whole head at
once is read before others can take its place (`node/api/places.py`, rule 3).
"""

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web

from node.api.connection import IDLE_S, Connection, connections_of, make_places
from node.api.route import Answer, Route, RouteError, not_found, refusal, refuse, too_large
from node.files.configfile import ConfigError

BACKLOG: Final = 512
ACCEPTED_PER_TURN_MAX: Final = 16
ROOM_LOOK_S: Final = 0.005
ACCEPT_RETRY_S: Final = 0.5
# Where the loop cannot wait for a listening socket, as on Windows.
ACCEPT_LOOK_S: Final = 0.05
SHUTDOWN_S: Final = 2.0
LOOPBACK_NAME: Final = "localhost"

logger = logging.getLogger(__name__)

_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})


class LoopbackListener:
    """Serves the routes of one application."""

    def __init__(
        self,
        application: web.Application,
        routes: Iterable[Route],
        answer_of: Callable[[Route], Answer],
        *,
        idle_s: float = IDLE_S,
        on_displaced: Callable[[str], None] = lambda _pool: None,
    ) -> None:
        """`idle_s` is how long a connection may idle between requests, in seconds.

        `on_displaced` is told the pool in which somebody lost its place to another.
        """
        self._places = make_places(on_displaced)
        for route in routes:
            application.router.add_route(
                route.method,
                route.path,
                answer_of(route),
                expect_handler=_expect_continue,
            )
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
        )
        self._idle_s = idle_s
        self._listening: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._beginning: set[asyncio.Task[tuple[asyncio.Transport, Connection]]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen on a loopback address; return the port. Raises ConfigError for any other address."""
        check_loopback(host)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "a runner that was set up has a server"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._listening.setblocking(False)
        make = connections_of(server, self._places, idle_s=self._idle_s)
        self._accepting = asyncio.create_task(self._accept_forever(self._listening, make))
        bound: int = self._listening.getsockname()[1]
        return bound

    @property
    def accepting(self) -> asyncio.Task[None]:
        """What accepts connections. It ends by `refuse_more` alone: whoever serves sees to it that it runs."""
        assert self._accepting is not None, "start comes first"
        return self._accepting

    def refuse_more(self) -> None:
        """Take no more connections."""
        if self._accepting is not None:
            self._accepting.cancel()

    async def close(self) -> None:
        """Take no more connections, and end those that are left within SHUTDOWN_S."""
        self.refuse_more()
        if self._accepting is not None and self._listening is not None:
            await asyncio.wait([self._accepting])
            self._listening.close()
            if not self._accepting.cancelled():
                self._accepting.result()
        await asyncio.gather(*self._beginning, return_exceptions=True)
        await self._runner.cleanup()

    async def _accept_forever(self, listening: socket.socket, make: Callable[[], Connection]) -> None:
        accepted_count = 0
        while True:
            if not self._places.has_room():
                await asyncio.sleep(ROOM_LOOK_S)
                self._places.went_round()
                continue
            try:
                # Not the loop's sock_accept: where that is cancelled in the wrong moment, what it accepted is lost.
                accepted, _ = listening.accept()
            except BlockingIOError:
                await _until_readable(listening)
                self._places.went_round()
                continue
            except OSError as error:
                logger.warning("api.accept_failed error=%s", error)
                if error.errno in _NO_DESCRIPTORS:
                    self._places.free_one()
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            self._begin(make(), accepted)
            accepted_count += 1
            if accepted_count % ACCEPTED_PER_TURN_MAX == 0:
                await asyncio.sleep(0)
                self._places.went_round()

    def _begin(self, made: Connection, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        self._places.take(made)
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(loop.connect_accepted_socket(lambda: made, accepted))
        self._beginning.add(task)
        task.add_done_callback(lambda ended: self._has_begun(ended, made, accepted))

    def _has_begun(
        self,
        task: asyncio.Task[tuple[asyncio.Transport, Connection]],
        made: Connection,
        accepted: socket.socket,
    ) -> None:
        self._beginning.discard(task)
        if task.cancelled() or task.exception() is not None:
            # It never was a connection: nobody else gives back its place and its socket.
            self._places.leave(made)
            accepted.close()


async def _until_readable(listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(listening, readable.set)
    except NotImplementedError:
        await asyncio.sleep(ACCEPT_LOOK_S)
        return
    try:
        await readable.wait()
    finally:
        loop.remove_reader(listening)


def check_loopback(host: str) -> None:
    """Check that a host is a loopback address. Raises ConfigError."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        cure = "set the host to 127.0.0.1 and put a proxy with TLS and client authentication before it"
        raise ConfigError(
            where="[api] host", expected="a loopback address", found=ascii(host)[:80], cure=cure
        )


def refuse_http(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return a refusal of the HTTP server as the JSON refusal of every other fault."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return refusal(too_large("more"), error.status)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        cure = "Use an allowed method."
        response = refuse(
            405, "method", "method", expected=allowed, found=ascii(request.method)[:40], cure=cure
        )
        response.headers["Allow"] = allowed
        return response
    if isinstance(error, web.HTTPNotFound):
        return refusal(not_found("path", ascii(request.path)), error.status)
    cure = "GET /v1/openapi.json describes every route."
    return refuse(
        error.status, "http", "request", expected="a route's request", found=error.reason, cure=cure
    )


def check_host(request: web.Request) -> None:
    """Check that a request names this machine by a loopback address. Raises RouteError."""
    named = request.host
    name = named[1:].partition("]")[0] if named.startswith("[") else named.partition(":")[0]
    if name == LOOPBACK_NAME:
        return
    try:
        check_loopback(name)
    except ConfigError:
        cure = "Name the node by its loopback address, like http://127.0.0.1:7201."
        raise RouteError(
            status=421,
            code="host",
            where="Host",
            expected="a loopback address",
            found=ascii(named)[:80],
            cure=cure,
        ) from None


async def _expect_continue(request: web.Request) -> web.StreamResponse | None:
    """Answer what a request expects before it sends its body."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What follows is the answer's own beginning: nothing of it has been written.
        request.writer.output_size = 0
        return None
    found = ascii(request.headers.get("Expect", ""))[:80]
    return refuse(417, "http", "Expect", expected="100-continue", found=found, cure="Leave it out.")
