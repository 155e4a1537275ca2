"""The routes that read: state with proofs, members, consents, blocks, and the node itself.

Rule 1: one answer reads one version of the state.
Rule 2: what an answer holds is bounded: BLOCKS_MAX blocks, and no more of them than BLOCKS_SIZE_MAX bytes
after the first.
Rule 3: evidence of many documents is found for DOCUMENTS_AT_ONCE questions at a time. Others wait, in the order in
which they came. Each is answered within DOCUMENTS_S, or told to come again.
"""

import asyncio
from typing import Final

from aiohttp import web

from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Json, from_json, pack, to_json
from ledger.errors import EncodingError
from ledger.genesis import genesis_to_json
from ledger.proofs import EvidenceRequest
from ledger.rules.blocks import Block
from ledger.rules.state import (
    Consent,
    Leaf,
    Member,
    consent_key,
    decode_leaf,
    member_key,
)
from node.api.answers import DOCUMENTS_REQUEST, EVIDENCE_REQUEST
from node.api.route import (
    BodyField,
    RouteError,
    not_found,
    read_object,
    require_hash,
    require_number,
    respond,
)
from node.api.service import NodeService, NotHeld, ProvenValue, Status
from node.api.turns import Turns
from node.evidence import PIECE_COUNT, DocumentsEvidence, DocumentsRequest
from node.progress import SyncProgress

BLOCKS_MAX: Final = 64
BLOCKS_SIZE_MAX: Final = 8 * 1024 * 1024
MEMBER_ID_SIZE_MAX: Final = 32
DOCUMENTS_AT_ONCE: Final = 2
DOCUMENTS_S: Final = 10.0
EVIDENCE_BODY: Final = {"request": BodyField(dict, EVIDENCE_REQUEST)}
DOCUMENTS_BODY: Final = {"request": BodyField(dict, DOCUMENTS_REQUEST)}


class Queries:
    """Answers what clients ask."""

    def __init__(self, node: NodeService) -> None:
        self._node = node
        self._turns = Turns()
        self._documents_room = asyncio.Semaphore(DOCUMENTS_AT_ONCE)

    # -- proofs -----------------------------------------------------------------------------------------

    async def evidence(self, request: web.Request) -> web.StreamResponse:
        """Return evidence for a proof."""
        body = await read_object(request, EVIDENCE_BODY)
        evidence = self._node.evidence(from_json(EvidenceRequest, body["request"]))
        return respond({"evidence": pack(evidence).hex()})

    async def documents_evidence(self, request: web.Request) -> web.StreamResponse:
        """Return evidence of many documents under one header (rules 1 and 3)."""
        body = await read_object(request, DOCUMENTS_BODY)
        asked = from_json(DocumentsRequest, body["request"])
        try:
            async with asyncio.timeout(DOCUMENTS_S), self._documents_room:
                found = await self._node.documents_evidence(asked)
                return respond(await self._documents_json(found))
        except TimeoutError as error:
            raise _busy() from error

    async def _documents_json(self, found: DocumentsEvidence) -> dict[str, Json]:
        anchors: list[Json] = []
        for shown in found.anchors:
            unrevoked: list[Json] = []
            for first in range(0, len(shown.unrevoked), PIECE_COUNT):
                async with self._turns.turn():
                    some = shown.unrevoked[first : first + PIECE_COUNT]
                    unrevoked += [None if each is None else to_json(each) for each in some]
            anchors.append({"anchor": to_json(shown.anchor), "unrevoked": unrevoked})
        return {
            "at": to_json(found.at),
            "trust_path": to_json(found.trust_path),
            "issuers": [to_json(each) for each in found.issuers],
            "anchors": anchors,
            "consent": None if found.consent is None else to_json(found.consent),
        }

    async def state(self, request: web.Request) -> web.StreamResponse:
        """Return a leaf by its key."""
        return respond(proven_json(self._node.prove(require_hash(request.match_info["key"], "state key"))))

    async def members(self, _request: web.Request) -> web.StreamResponse:
        """Return every member's record as it stands."""
        keys = [member_key(member) for member in self._node.member_ids()]
        proven = [(key, self._node.prove(key)) for key in keys]
        found: list[Json] = [
            to_json(decode_leaf(Member, key, each.value)) for key, each in proven if each.value is not None
        ]
        return respond({"members": found})

    async def member(self, request: web.Request) -> web.StreamResponse:
        """Return a member's record with its proof."""
        member = request.match_info["member"]
        if not member.isascii() or len(member) > MEMBER_ID_SIZE_MAX:
            raise EncodingError(
                where="member",
                expected=f"at most {MEMBER_ID_SIZE_MAX} ASCII characters",
                found=f"{member!a:.80}",
            )
        if member not in self._node.member_ids():
            # Said without a proof, which a node before its first final block cannot give.
            raise not_found(Member.TAG, member)
        return self._leaf(Member, member_key(member), member)

    async def consent(self, request: web.Request) -> web.StreamResponse:
        """Return a consent's record with its proof."""
        key = PublicKey.from_text(request.match_info["key"])
        consent_id = require_hash(request.match_info["id"], "consent id")
        return self._leaf(Consent, consent_key(key, consent_id), consent_id.hex())

    def _leaf(self, shape: type[Leaf], key: bytes, name: str) -> web.Response:
        proven = self._node.prove(key)
        if proven.value is None:
            raise not_found(shape.TAG, name)
        return respond({"record": to_json(decode_leaf(shape, key, proven.value)), **proven_json(proven)})

    # -- blocks -----------------------------------------------------------------------------------------

    async def block(self, request: web.Request) -> web.StreamResponse:
        """Return one final block."""
        height = require_number(request.match_info["height"], "height")
        block = self._node.find_block(height)
        if block is None:
            raise not_found("block", f"{height}")
        return respond(self._block_json(block))

    async def blocks(self, request: web.Request) -> web.StreamResponse:
        """Return some final blocks from a height on."""
        start = require_number(request.query.get("from", "0"), "from")
        count = require_number(request.query.get("count", f"{BLOCKS_MAX}"), "count")
        if not 1 <= count <= BLOCKS_MAX:
            raise EncodingError(where="count", expected=f"1 to {BLOCKS_MAX}", found=f"{count}")
        found: list[Json] = []
        size = 0
        for height in range(start, start + count):
            async with self._turns.turn():
                try:
                    block = self._node.find_block(height)
                except NotHeld:
                    if not found:
                        raise
                    break
                if block is None:
                    break
                size += sum(len(transaction.encoded) for transaction in block.transactions)
                if found and size > BLOCKS_SIZE_MAX:
                    break
                found.append(self._block_json(block))
        return respond({"blocks": found})

    def _block_json(self, block: Block) -> dict[str, Json]:
        certificate = self._node.find_certificate(block.header.height)
        is_own = certificate is not None and certificate.subject.block_hash == block.hash
        return {
            "header": block.encoded_header.encoded.hex(),
            "transactions": [transaction.encoded.hex() for transaction in block.transactions],
            "certificate": pack(certificate).hex() if certificate is not None and is_own else None,
        }

    # -- the node ---------------------------------------------------------------------------------------

    async def genesis(self, _request: web.Request) -> web.StreamResponse:
        """Return the genesis."""
        return respond(genesis_to_json(self._node.genesis))

    async def status(self, _request: web.Request) -> web.StreamResponse:
        """Say where the node stands."""
        status = self._node.status()
        return respond(
            {
                "version": status.version,
                "member": status.member,
                "kind": status.kind,
                "epoch": status.epoch,
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
                "sync": _sync_json(status.sync),
                "missing_blocks": None if status.missing_blocks is None else [*status.missing_blocks],
                "lack": status.lack,
                "mempool_count": status.mempool_count,
                "mempool_size": status.mempool_size,
                "condition": _condition_json(status),
            }
        )

    async def health(self, _request: web.Request) -> web.StreamResponse:
        """Say that the process is up."""
        return respond({"health": "up"})

    async def ready(self, _request: web.Request) -> web.StreamResponse:
        """Say that the node can serve, or what it waits for."""
        condition = self._node.status().condition
        obstacle = condition.obstacle
        if obstacle is None:
            return respond({"ready": True})
        raise RouteError(
            status=503,
            code="not-ready",
            where="node",
            expected="ready",
            found=f"waits for {condition.waits_for}",
            cure=obstacle.cure,
        )


def _busy() -> RouteError:
    return RouteError(
        status=503,
        code="busy",
        where="documents",
        expected=f"evidence of many documents within {DOCUMENTS_S:.0f} s",
        found="too many such questions at once",
        cure="Come again later, or ask for fewer documents at once.",
    )


def proven_json(proven: ProvenValue) -> dict[str, Json]:
    """Return the JSON form of a leaf with its proof; value and inclusion are null where it is absent."""
    return {
        "value": None if proven.value is None else proven.value.hex(),
        "inclusion": None if proven.present is None else to_json(proven.present.proof),
        "absence": None if proven.absent is None else to_json(proven.absent),
        "at": to_json(proven.at),
        "trust_path": to_json(proven.trust_path),
    }


def _condition_json(status: Status) -> Json:
    """Return how the node is. Times are of the Unix epoch, by its own clock."""
    condition = status.condition
    seen = condition.observations
    return {
        "state": condition.state,
        "waits_for": condition.waits_for,
        "troubles": [
            {
                "code": each.code,
                "found": each.found,
                "cure": each.cure,
                "since_ms": status.to_unix_ms(seen.now_ms if each.since_ms is None else each.since_ms),
                "is_error": each.is_error,
                "hinders": each.waits_for is not None,
            }
            for each in condition.troubles
        ],
        "quorum": {
            "needed": seen.quorum,
            "validators": [*seen.validators],
            "connected": [*seen.connected],
            "missing": [
                {"member": member, "since_ms": status.to_unix_ms(since_ms)}
                for member, since_ms in sorted(seen.down_since_ms.items())
            ],
        },
        "last_final_ms": None if seen.final_ms is None else status.to_unix_ms(seen.final_ms),
        "known_height": max(seen.known_height, status.height),
        "known_epoch": max(seen.known_epoch, status.epoch),
        "clock_offsets": [
            {"member": member, "offset_ms": offset_ms}
            for member, offset_ms in sorted(seen.clock_offsets_ms.items())
        ],
        "disk_free_size": seen.disk_free_size,
        "swallowing": [*seen.swallowing],
    }


def _sync_json(progress: SyncProgress | None) -> Json:
    """Return how far catching up is; null where there is nothing to catch up."""
    if progress is None:
        return None
    return {
        "phase": progress.phase,
        "height": progress.height,
        "target_height": progress.target_height,
        "done": progress.done,
        "total": progress.total,
        "peers": [*progress.peers],
        "stalled_ms": progress.stalled_ms,
    }
