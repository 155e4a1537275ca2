"""The HTTP API for clients, under /v1 on loopback.

Rule 1: it listens on loopback only: it has no TLS and no client authentication yet.
Rule 2: one answer reads one version of the state.
Rule 3: what clients can make the node hold is bounded: body size, items, waiting, subscribers.
"""

import asyncio
import ipaddress
import json
from typing import Final

from aiohttp import web

from ledger.blocks import Block
from ledger.errors import EncodingError
from ledger.genesis import genesis_to_json
from ledger.proofs import EvidenceRequest
from ledger.records import Json, from_json, pack, to_json
from ledger.state import member_key
from node.api.doors import (
    BODY_SIZE_MAX,
    answer_refusals,
    error_json,
    not_found,
    read_object,
    refuse,
    require_hex,
    require_number,
    require_wait,
    respond,
)
from node.api.openapi import describe
from node.api.ratelimit import RateLimit
from node.configfile import ConfigError
from node.service import NodeService, ProvenValue, Submission

TRANSACTIONS_MAX: Final = 2_000
OPERATIONS_MAX: Final = 64
BLOCKS_MAX: Final = 64
SUBSCRIBERS_MAX: Final = 64
RELAY_BURST: Final = 200
RELAY_PER_SECOND: Final = 20
EVENT_WRITE_S: Final = 10.0
KEEP_ALIVE_S: Final = 15.0


class Api:
    """Serves one node to its clients."""

    def __init__(self, node: NodeService) -> None:
        self._node = node
        self._subscribers_count = 0
        self._relay_limit = RateLimit(burst=RELAY_BURST, per_second=RELAY_PER_SECOND)
        self._stopping = asyncio.Event()
        application = web.Application(client_max_size=BODY_SIZE_MAX, middlewares=[answer_refusals])
        self.routes = [
            web.post("/v1/transactions", self._submit),
            web.get("/v1/transactions/{id}", self._transaction),
            web.post("/v1/relay", self._relay),
            web.post("/v1/evidence", self._evidence),
            web.get("/v1/state/{key}", self._state),
            web.get("/v1/members", self._members),
            web.get("/v1/members/{member}", self._member),
            web.get("/v1/blocks", self._blocks),
            web.get("/v1/blocks/{height}", self._block),
            web.get("/v1/genesis", self._genesis),
            web.get("/v1/status", self._status),
            web.get("/v1/health", self._health),
            web.get("/v1/ready", self._ready),
            web.get("/v1/events", self._events),
            web.get("/v1/openapi.json", self._openapi),
        ]
        application.add_routes(self.routes)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)

    async def start(self, host: str, port: int) -> int:
        """Listen on a loopback address; return the port. Raises ConfigError for any other address."""
        if not ipaddress.ip_address(host).is_loopback:
            cure = "set the host to 127.0.0.1 and put a proxy with TLS and client authentication before it"
            raise ConfigError("[api] host", "a loopback address", host, cure)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=256)
        await site.start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening, and end every subscription."""
        self._stopping.set()
        await self._runner.cleanup()

    # -- submissions ------------------------------------------------------------------------------------

    async def _submit(self, request: web.Request) -> web.Response:
        body = await read_object(request, {"transactions": list, "wait_ms": int})
        listed = body["transactions"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= TRANSACTIONS_MAX:
            raise EncodingError("body.transactions", f"1 to {TRANSACTIONS_MAX} of them", "another count")
        wait_ms = require_wait(body["wait_ms"])
        encoded = [require_hex(each, f"body.transactions[{n}]") for n, each in enumerate(listed)]
        results = await self._node.submit(encoded, wait_ms=wait_ms)
        return respond({"results": [submission_json(result) for result in results]})

    async def _transaction(self, request: web.Request) -> web.Response:
        identity = require_hex(request.match_info["id"], "transaction id", size_max=32)
        found = self._node.find_submission(identity)
        return not_found("transaction", identity.hex()) if found is None else respond(submission_json(found))

    async def _relay(self, request: web.Request) -> web.Response:
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        if not self._relay_limit.allows(request.remote or "", now_ms):
            expected = f"at most {RELAY_PER_SECOND} relayed requests per second from one address"
            cure = "Wait a second and send it again."
            return refuse(429, "rate-limited", "relay", expected=expected, found="more", cure=cure)
        body = await read_object(request, {"operations": list, "wait_ms": int})
        listed = body["operations"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= OPERATIONS_MAX:
            raise EncodingError("body.operations", f"1 to {OPERATIONS_MAX} of them", "another count")
        wait_ms = require_wait(body["wait_ms"])
        encoded = [require_hex(each, f"body.operations[{n}]") for n, each in enumerate(listed)]
        return respond(submission_json(await self._node.relay(encoded, wait_ms=wait_ms)))

    # -- proofs -----------------------------------------------------------------------------------------

    async def _evidence(self, request: web.Request) -> web.Response:
        body = await read_object(request, {"request": dict})
        evidence = self._node.evidence(from_json(EvidenceRequest, body["request"]))
        return respond({"evidence": pack(evidence).hex()})

    async def _state(self, request: web.Request) -> web.Response:
        key = require_hex(request.match_info["key"], "state key", size_max=32)
        if len(key) != 32:
            raise EncodingError("state key", "32 bytes", f"{len(key)} bytes")
        return respond(proven_json(self._node.prove(key)))

    async def _members(self, _request: web.Request) -> web.Response:
        members: list[Json] = [
            {
                "id": member.id,
                "name_en": member.name_en,
                "name_zh_hans": member.name_zh_hans,
                "name_zh_hant": member.name_zh_hant,
                "jurisdiction": member.jurisdiction,
                "roles": list(member.roles),
            }
            for member in self._node.genesis.content.members
        ]
        return respond({"members": members})

    async def _member(self, request: web.Request) -> web.Response:
        member = request.match_info["member"]
        if member not in {each.id for each in self._node.genesis.content.members}:
            return not_found("member", ascii(member))
        return respond(proven_json(self._node.prove(member_key(member))))

    # -- blocks -----------------------------------------------------------------------------------------

    async def _block(self, request: web.Request) -> web.Response:
        height = require_number(request.match_info["height"], "height")
        block = self._node.find_block(height)
        return not_found("block", f"{height}") if block is None else respond(self._block_json(block))

    async def _blocks(self, request: web.Request) -> web.Response:
        unknown = set(request.query) - {"from", "count"}
        if unknown:
            raise EncodingError("query", "from and count", ascii(sorted(unknown))[:80])
        start = require_number(request.query.get("from", "0"), "from")
        count = require_number(request.query.get("count", f"{BLOCKS_MAX}"), "count")
        if not 1 <= count <= BLOCKS_MAX:
            raise EncodingError("count", f"1 to {BLOCKS_MAX}", f"{count}")
        found: list[Json] = []
        for height in range(start, start + count):
            block = self._node.find_block(height)
            if block is None:
                break
            found.append(self._block_json(block))
        return respond({"blocks": found})

    def _block_json(self, block: Block) -> dict[str, Json]:
        certificate = self._node.find_certificate(block.header.height)
        is_own = certificate is not None and certificate.subject.block_hash == block.hash
        return {
            "header": block.sealed.encoded.hex(),
            "transactions": [transaction.encoded.hex() for transaction in block.transactions],
            "certificate": pack(certificate).hex() if certificate is not None and is_own else None,
        }

    # -- the node ---------------------------------------------------------------------------------------

    async def _genesis(self, _request: web.Request) -> web.Response:
        return respond(genesis_to_json(self._node.genesis))

    async def _status(self, _request: web.Request) -> web.Response:
        status = self._node.status()
        return respond(
            {
                "member": status.member,
                "kind": status.kind,
                "chain_id": status.chain_id.hex(),
                "height": status.height,
                "block_hash": status.block_hash.hex(),
                "state_root": status.state_root.hex(),
                "time_ms": status.time_ms,
                "view": status.view,
                "finalized_view": status.finalized_view,
                "is_voting": status.is_voting,
                "is_amnesiac": status.is_amnesiac,
                "peers_connected": list(status.peers_connected),
                "mempool_count": status.mempool_count,
                "mempool_size": status.mempool_size,
            }
        )

    async def _health(self, _request: web.Request) -> web.Response:
        return respond({"health": "up"})

    async def _ready(self, _request: web.Request) -> web.Response:
        waits_for = self._node.is_ready()
        if waits_for is None:
            return respond({"ready": True})
        cure = "Wait a moment and ask again."
        return refuse(503, "not-ready", "node", expected="ready", found=f"waits for {waits_for}", cure=cure)

    async def _openapi(self, _request: web.Request) -> web.Response:
        return respond(describe([(route.method, route.path) for route in self.routes]))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        cursor = request.headers.get("Last-Event-ID") or request.query.get("from")
        height = 1 + (self._node.status().height if cursor is None else require_number(cursor, "cursor"))
        if self._subscribers_count >= SUBSCRIBERS_MAX:
            expected, cure = f"at most {SUBSCRIBERS_MAX} subscribers", "Come again later."
            return refuse(503, "busy", "events", expected=expected, found="that many", cure=cure)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        self._subscribers_count += 1
        try:
            await response.prepare(request)
            await self._stream(response, height)
        except (ConnectionError, TimeoutError):
            # The subscriber left, or reads too slowly: it resumes from its cursor.
            return response
        finally:
            self._subscribers_count -= 1
        return response

    async def _stream(self, response: web.StreamResponse, height: int) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                waiting = asyncio.ensure_future(self._node.wait_for_height(height))
                done, _ = await asyncio.wait(
                    [waiting, stopping], timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
                )
                if waiting not in done:
                    waiting.cancel()
                    async with asyncio.timeout(EVENT_WRITE_S):
                        await response.write(b": waiting\n\n")
                    continue
                block = self._node.find_block(height)
                assert block is not None, "a final height has a block"
                async with asyncio.timeout(EVENT_WRITE_S):
                    await response.write(block_event(block))
                height += 1
        finally:
            stopping.cancel()


def submission_json(submission: Submission) -> dict[str, Json]:
    """Return the JSON form of what became of a transaction."""
    return {
        "id": submission.id.hex(),
        "state": submission.state,
        "height": submission.height,
        "time_ms": submission.time_ms,
        "error": None if submission.error is None else error_json(submission.error),
    }


def proven_json(proven: ProvenValue) -> dict[str, Json]:
    """Return the JSON form of a leaf with its proof; value and inclusion are null where it is absent."""
    return {
        "value": None if proven.value is None else proven.value.hex(),
        "inclusion": None if proven.present is None else to_json(proven.present.proof),
        "absence": None if proven.absent is None else to_json(proven.absent),
        "at": to_json(proven.at),
        "trust_path": to_json(proven.trust_path),
    }


def block_event(block: Block) -> bytes:
    """Return the server-sent event of a final block; its id is the height, the cursor to resume from."""
    content: dict[str, Json] = {
        "height": block.header.height,
        "hash": block.hash.hex(),
        "time_ms": block.header.time_ms,
        "transactions": [
            {
                "id": transaction.id.hex(),
                "sender": transaction.body.sender,
                "operations": [to_json(operation) for operation in transaction.body.operations],
            }
            for transaction in block.transactions
        ],
    }
    return f"id: {block.header.height}\nevent: block\ndata: {json.dumps(content)}\n\n".encode()
