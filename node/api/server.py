"""The HTTP API for clients, under /v1 on loopback (docs/decisions/0002).

Rule 1: what clients can make the node hold is bounded: connections, bodies at once, waiting, subscribers. No flood of
slow clients takes one of these from everybody (docs/pools.md).
Rule 2: every request is answered in time, a stream of events excepted.
"""

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ledger.errors import LedgerError
from node.api.bodies import RequestBodies
from node.api.connection import IDLE_S, connection_of
from node.api.decisions import Decisions
from node.api.events import SUBSCRIBERS, Events
from node.api.loopback import LoopbackListener, check_host, refuse_http
from node.api.metrics import Metrics
from node.api.queries import Queries
from node.api.route import (
    BODY_S,
    BODY_SIZE_MAX,
    CODE,
    PARSING,
    WAIT_MS_MAX,
    Answer,
    Route,
    RouteError,
    refusal,
    refuse,
)
from node.api.routes import make_routes
from node.api.service import NodeService
from node.api.submissions import Submissions
from node.api.texts import TextBundles
from node.api.turns import Turns
from node.clock import Clock, SystemClock
from node.errors import MempoolError, NodeStopped, NotReady, StoreError, VoteLogError

ANSWER_S: Final = WAIT_MS_MAX / 1000 + BODY_S + 10.0

_ROUTE: Final = web.RequestKey("route", Route)
_ABSENT: Final = frozenset(("unknown", "not-held"))
_BUSY: Final = frozenset({"busy", "mempool-full", "mempool-share"})


class Api:
    """Serves one node to its clients."""

    def __init__(
        self,
        node: NodeService,
        *,
        clock: Clock | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        self._node = node
        self._events = Events(node, on_displaced=lambda: self._metrics.displaced(SUBSCRIBERS))
        self._metrics = Metrics(node, self._events)
        self._bodies = RequestBodies(self._metrics.displaced)
        self._clock = clock or SystemClock()
        submissions = Submissions(node, self._clock)
        self.routes = make_routes(
            submissions, Queries(node), Decisions(node), self._events, TextBundles(node), self._metrics
        )
        application = web.Application(client_max_size=BODY_SIZE_MAX, middlewares=[self._middleware()])
        application[PARSING] = Turns()
        self._listener = LoopbackListener(
            application, self.routes, self._answer_of, idle_s=idle_s, on_displaced=self._metrics.displaced
        )

    async def start(self, host: str, port: int) -> int:
        """Listen on a loopback address; return the port. Raises ConfigError for any other address."""
        return await self._listener.start(host, port)

    @property
    def accepting(self) -> asyncio.Task[None]:
        """What accepts connections, until `close`."""
        return self._listener.accepting

    async def close(self) -> None:
        """Stop listening, and end every subscription."""
        self._listener.refuse_more()
        self._events.stop()
        await self._listener.close()

    # -- around every route ------------------------------------------------------------------------------

    def _answer_of(self, route: Route) -> Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            request[_ROUTE] = route
            route.check_query(request)
            with connection_of(request).answering(request, route):
                if route.is_stream:
                    return await route.answer(request)
                async with self._bodies.place_for(request), asyncio.timeout(ANSWER_S):
                    return await route.answer(request)

        return answer

    def _middleware(self) -> Middleware:
        @web.middleware
        async def answer_every(request: web.Request, handler: Handler) -> web.StreamResponse:
            began_ms = self._clock.monotonic_ms()
            try:
                response = await _answer_or_refuse(request, handler)
            except StoreError as error:
                # What this route met, consensus meets next: the node stops, and says how it is repaired.
                self._node.was_damaged(error)
                response = _refuse_stopping()
            except (VoteLogError, NodeStopped):
                # A client's request was what made the node write: the driver said why, and the node ends.
                response = _refuse_stopping()
            seconds = (self._clock.monotonic_ms() - began_ms) / 1000
            self._metrics.count(request.get(_ROUTE), response.status, response.get(CODE, ""), seconds)
            return response

        return answer_every


async def _answer_or_refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        check_host(request)
        return await handler(request)
    except RouteError as error:
        return refusal(error, error.status)
    except (LedgerError, MempoolError) as error:
        return refusal(error, 404 if error.code in _ABSENT else 503 if error.code in _BUSY else 400)
    except NotReady as error:
        return refusal(error, 503)
    except TimeoutError:
        expected, cure = f"an answer within {ANSWER_S:.0f} s", "Ask again later."
        return refuse(503, "timeout", "node", expected=expected, found="none", cure=cure)
    except web.HTTPException as error:
        return refuse_http(request, error)


def _refuse_stopping() -> web.Response:
    cure = "Ask another node, and read this one's log."
    return refuse(503, "stopping", "node", expected="a node that goes on", found="one that stops", cure=cure)
