"""HTTP on loopback, for every server of ours.

Rule 1: a server listens on loopback only: it has no TLS and no client authentication yet. A request whose Host is
another name is refused, so that no web page reaches it by pointing a name of its own at this machine.
Rule 2: what the HTTP library refuses is refused in the words of every other fault.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web

from node.api.connection import IDLE_S, connections_of
from node.api.route import Answer, Route, RouteError, not_found, refusal, refuse, too_large
from node.files.configfile import ConfigError

BACKLOG: Final = 256
SHUTDOWN_S: Final = 2.0
LOOPBACK_NAME: Final = "localhost"


class LoopbackListener:
    """Serves the routes of one application."""

    def __init__(
        self,
        application: web.Application,
        routes: Iterable[Route],
        answer_of: Callable[[Route], Answer],
        *,
        idle_s: float = IDLE_S,
    ) -> None:
        """`idle_s` is how long a connection may idle between requests, in seconds."""
        for route in routes:
            application.router.add_route(
                route.method, route.path, answer_of(route), expect_handler=_expect_continue
            )
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
        )
        self._idle_s = idle_s
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen on a loopback address; return the port. Raises ConfigError for any other address."""
        check_loopback(host)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "a runner that was set up has a server"
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            connections_of(server, idle_s=self._idle_s), host, port, backlog=BACKLOG
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def refuse_more(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Take no more connections, and end those that are left within SHUTDOWN_S."""
        self.refuse_more()
        await self._runner.cleanup()


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
