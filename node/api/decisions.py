"""The routes on governance: proposals, the validator set, and misbehaviour on record.

Rule 1: each record comes with its proof; lists are walked from the latest record, newest first, and bounded.
Rule 2: whether a proposal is open or expired is said as of the answer's own header.
"""

from typing import Final, TypeVar

from aiohttp import web

from ledger.encoding.records import Json, to_json
from ledger.errors import EncodingError
from ledger.rules.blocks import EncodedHeader
from ledger.rules.proposals import GOVERNANCE_KEY, Governance, Proposal, proposal_key
from ledger.rules.state import (
    LATEST_MISBEHAVIOUR_KEY,
    VALIDATORS_KEY,
    LatestMisbehaviour,
    Leaf,
    Misbehaviour,
    MisbehaviourPlace,
    Validators,
    decode_leaf,
    misbehaviour_key,
)
from node.api.queries import proven_json
from node.api.route import not_found, require_hash, require_number, respond
from node.api.service import NodeService, ProvenValue

RECORDS_MAX: Final = 32

L = TypeVar("L", bound=Leaf)


class Decisions:
    """Answers what clients ask about governance."""

    def __init__(self, node: NodeService) -> None:
        self._node = node

    async def proposals(self, request: web.Request) -> web.StreamResponse:
        """Return proposals, newest first, from the latest or one that is named."""
        count = _count(request)
        named = request.query.get("from")
        at: bytes | None = None if named is None else require_hash(named, "proposal")
        if at is None:
            at = self._require(Governance, GOVERNANCE_KEY, "governance")[0].latest_proposal
        found: list[Json] = []
        while at is not None and len(found) < count:
            proposal, proven = self._require(Proposal, proposal_key(at), at.hex())
            found.append(_proposal_json(proposal, proven))
            at = proposal.previous
        return respond({"proposals": found, "next": None if at is None else at.hex()})

    async def proposal(self, request: web.Request) -> web.StreamResponse:
        """Return a proposal with its proof."""
        identity = require_hash(request.match_info["id"], "proposal")
        proposal, proven = self._require(Proposal, proposal_key(identity), identity.hex())
        return respond({**_proposal_json(proposal, proven), **proven_json(proven)})

    async def validators(self, _request: web.Request) -> web.StreamResponse:
        """Return the current validator set, and the pending one, with the proof."""
        validators, proven = self._require(Validators, VALIDATORS_KEY, "validators")
        return respond({"record": to_json(validators), **proven_json(proven)})

    async def misbehaviour(self, request: web.Request) -> web.StreamResponse:
        """Return misbehaviour on record, newest first."""
        count = _count(request)
        latest = self._find(LatestMisbehaviour, LATEST_MISBEHAVIOUR_KEY)[0]
        at: MisbehaviourPlace | None = None if latest is None else latest.latest
        found: list[Json] = []
        while at is not None and len(found) < count:
            key = misbehaviour_key(at.epoch, at.member)
            record, _ = self._require(Misbehaviour, key, f"{at.epoch} {at.member}")
            found.append(to_json(record))
            at = record.previous
        return respond({"misbehaviour": found, "is_complete": at is None})

    def _find(self, shape: type[L], key: bytes) -> tuple[L | None, ProvenValue]:
        proven = self._node.prove(key)
        return (None if proven.value is None else decode_leaf(shape, key, proven.value)), proven

    def _require(self, shape: type[L], key: bytes, name: str) -> tuple[L, ProvenValue]:
        found, proven = self._find(shape, key)
        if found is None:
            raise not_found(shape.TAG, name)
        return found, proven


def _proposal_json(proposal: Proposal, proven: ProvenValue) -> dict[str, Json]:
    time_ms = EncodedHeader.decode(proven.at.header).header.time_ms
    return {"record": to_json(proposal), "status": proposal.status_at(time_ms)}


def _count(request: web.Request) -> int:
    count = require_number(request.query.get("count", f"{RECORDS_MAX}"), "count")
    if not 1 <= count <= RECORDS_MAX:
        raise EncodingError(where="count", expected=f"1 to {RECORDS_MAX}", found=f"{count}")
    return count
