"""The routes that change the ledger: members' transactions, and holders' grants and withdrawals.

Rule 1: a submission is answered transaction by transaction; one refusal says nothing of its neighbours.
Rule 2: the relay route takes only grants and withdrawals, and each address only so often.
Rule 3: waiting for finality is a courtesy with places of its own, WAITS_MAX beside those of requests, and room of its
own. Whoever finds none is not refused: it is answered at once with what is known by then (docs/pools.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from ledger.encoding.records import Json
from node.api.bodies import BODIES_SIZE_MAX
from node.api.connection import connection_of
from node.api.ratelimit import RateLimit
from node.api.route import (
    BODY,
    BodyField,
    RouteError,
    error_json,
    not_found,
    read_object,
    require_hash,
    require_hex_list,
    require_wait,
    respond,
)
from node.api.service import NodeService, Submission
from node.clock import Clock

TRANSACTIONS_MAX: Final = 2_000
OPERATIONS_MAX: Final = 64
WAITS_MAX: Final = 128
WAITS_SIZE_MAX: Final = BODIES_SIZE_MAX // 2
RELAY_BURST: Final = 200
RELAY_PER_SECOND: Final = 20

_HEX_ITEM: Final[dict[str, Json]] = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}
_WAIT: Final = BodyField(
    int, {"type": "integer", "minimum": 0, "description": "How long to wait for finality, in milliseconds."}
)
SUBMIT_BODY: Final = {
    "transactions": BodyField(
        list, {"type": "array", "minItems": 1, "maxItems": TRANSACTIONS_MAX, "items": _HEX_ITEM}
    ),
    "wait_ms": _WAIT,
}
RELAY_BODY: Final = {
    "operations": BodyField(
        list, {"type": "array", "minItems": 1, "maxItems": OPERATIONS_MAX, "items": _HEX_ITEM}
    ),
    "wait_ms": _WAIT,
}


class Submissions:
    """Takes what clients submit."""

    def __init__(self, node: NodeService, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._relay_limit = RateLimit(burst=RELAY_BURST, per_second=RELAY_PER_SECOND)
        self._waits_count = 0
        self._waits_size = 0

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Submit transactions."""
        body = await read_object(request, SUBMIT_BODY)
        wait_ms = require_wait(body["wait_ms"])
        encoded = require_hex_list(body["transactions"], "body.transactions", count_max=TRANSACTIONS_MAX)
        with self._wait(request, wait_ms) as granted_ms:
            results = await self._node.submit(encoded, wait_ms=granted_ms)
        return respond({"results": [submission_json(result) for result in results]})

    async def relay(self, request: web.Request) -> web.StreamResponse:
        """Relay one holder's operations."""
        if not self._relay_limit.allows(request.remote or "", self._clock.monotonic_ms()):
            expected = f"at most {RELAY_PER_SECOND} relayed requests per second from one address"
            cure = "Wait a second and send it again."
            raise RouteError(
                status=429, code="rate-limited", where="relay", expected=expected, found="more", cure=cure
            )
        body = await read_object(request, RELAY_BODY)
        wait_ms = require_wait(body["wait_ms"])
        encoded = require_hex_list(body["operations"], "body.operations", count_max=OPERATIONS_MAX)
        with self._wait(request, wait_ms) as granted_ms:
            return respond(submission_json(await self._node.relay(encoded, wait_ms=granted_ms)))

    @contextmanager
    def _wait(self, request: web.Request, wait_ms: int) -> Iterator[int]:
        """Give a place to whoever wants to wait, instead of its request's; yield for how many milliseconds."""
        size = request[BODY].room_size
        if not wait_ms or self._waits_count >= WAITS_MAX or self._waits_size + size > WAITS_SIZE_MAX:
            yield 0
            return
        connection_of(request).set_aside()
        self._waits_count += 1
        self._waits_size += size
        try:
            yield wait_ms
        finally:
            self._waits_count -= 1
            self._waits_size -= size

    async def find(self, request: web.Request) -> web.StreamResponse:
        """Say what became of a transaction."""
        identity = require_hash(request.match_info["id"], "transaction id")
        found = self._node.find_submission(identity)
        if found is None:
            raise not_found("transaction", identity.hex())
        return respond(submission_json(found))


def submission_json(submission: Submission) -> dict[str, Json]:
    """Return the JSON form of what became of a transaction."""
    return {
        "id": submission.id.hex(),
        "state": submission.state,
        "height": submission.height,
        "time_ms": submission.time_ms,
        "error": None if submission.error is None else error_json(submission.error),
    }
