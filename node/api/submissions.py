"""The routes that change the ledger: members' transactions, and holders' grants and withdrawals.

Rule 1: a submission is answered transaction by transaction; one refusal says nothing of its neighbours.
Rule 2: the relay route takes only grants and withdrawals, and each address only so often.
"""

from typing import Final

from aiohttp import web

from ledger.encoding.records import Json
from node.api.ratelimit import RateLimit
from node.api.route import (
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

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Submit transactions."""
        body = await read_object(request, SUBMIT_BODY)
        wait_ms = require_wait(body["wait_ms"])
        encoded = require_hex_list(body["transactions"], "body.transactions", count_max=TRANSACTIONS_MAX)
        results = await self._node.submit(encoded, wait_ms=wait_ms)
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
        return respond(submission_json(await self._node.relay(encoded, wait_ms=wait_ms)))

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
