"""What each route of the node answers, and what its questions' records and the varying parts of its path look like.

Rule 1: every route that answers with JSON is here; records are described by their shapes (`node.api.shapeschema`).
Rule 2: a test asks every route and holds its answer to its schema.
"""

from collections.abc import Mapping
from typing import Final, get_args

from ledger.encoding.records import Height, Json, MemberId, Milliseconds
from ledger.genesis import Genesis
from ledger.proofs import EvidenceRequest
from ledger.rules.proposals import Proposal
from ledger.rules.state import Consent, Member, Misbehaviour, Validators
from ledger.trees.statetree import AbsenceProof, InclusionProof
from ledger.trust import FinalizedHeader, TrustPath
from node.api.openapi import Described
from node.api.route import DIGITS_MAX
from node.api.service import FINAL, PENDING, REFUSED
from node.api.shapeschema import ShapeSchemas, array_of, closed_object, hexadecimal, optional, plain_schema
from node.condition import CODES, WELL
from node.evidence import DocumentsEvidence, DocumentsRequest

_TEXT: Final[dict[str, Json]] = {"type": "string"}
_FLAG: Final[dict[str, Json]] = {"type": "boolean"}
_COUNT: Final[dict[str, Json]] = {"type": "integer", "minimum": 0}
_HASH: Final = hexadecimal(32, 32)
_BYTES: Final = hexadecimal(0)
_HEIGHT: Final = plain_schema(get_args(Height)[1])
_TIME: Final = plain_schema(get_args(Milliseconds)[1])
_MEMBER: Final = plain_schema(get_args(MemberId)[1])
_NUMBER_TEXT: Final[dict[str, Json]] = {
    "type": "string",
    "pattern": f"^(0|[1-9][0-9]{{0,{DIGITS_MAX - 1}}})$",
}
_KEY_TEXT: Final[dict[str, Json]] = {"type": "string", "pattern": "^ed25519:[0-9a-f]{64}$"}

_shapes: Final = ShapeSchemas()

# What bodies of questions refer to.
EVIDENCE_REQUEST: Final = _shapes.reference(EvidenceRequest)
DOCUMENTS_REQUEST: Final = _shapes.reference(DocumentsRequest)

_PROVEN: Final[dict[str, Json]] = {
    "value": optional(_BYTES),
    "inclusion": optional(_shapes.reference(InclusionProof)),
    "absence": optional(_shapes.reference(AbsenceProof)),
    "at": _shapes.reference(FinalizedHeader),
    "trust_path": _shapes.reference(TrustPath),
}
_ERROR: Final[dict[str, Json]] = {"$ref": "#/components/schemas/Error/properties/error"}
_SUBMISSION: Final = closed_object(
    {
        # None where the bytes are no transaction.
        "id": hexadecimal(0, 32),
        "state": {"enum": [FINAL, PENDING, REFUSED]},
        "height": optional(_HEIGHT),
        "time_ms": optional(_TIME),
        "error": optional(_ERROR),
    }
)
_BLOCK: Final = closed_object(
    {"header": _BYTES, "transactions": array_of(_BYTES), "certificate": optional(_BYTES)}
)
_DECIDED: Final[dict[str, Json]] = {"record": _shapes.reference(Proposal), "status": _TEXT}
_SYNC: Final = closed_object(
    {
        "phase": _TEXT,
        "height": _HEIGHT,
        "target_height": _HEIGHT,
        "done": _COUNT,
        "total": _COUNT,
        "peers": array_of(_TEXT),
        "stalled_ms": _COUNT,
    }
)
_TROUBLE: Final = closed_object(
    {
        # One of `node.condition.CODES`; `hinders` where the node is not ready for it.
        "code": {"enum": [*CODES]},
        "found": _TEXT,
        "cure": _TEXT,
        "since_ms": _TIME,
        "is_error": _FLAG,
        "hinders": _FLAG,
    }
)
_CONDITION: Final = closed_object(
    {
        "state": {"enum": [WELL, *CODES]},
        "waits_for": optional(_TEXT),
        "troubles": array_of(_TROUBLE),
        "quorum": closed_object(
            {
                "needed": _COUNT,
                "validators": array_of(_MEMBER),
                "connected": array_of(_MEMBER),
                "missing": array_of(closed_object({"member": _MEMBER, "since_ms": _TIME})),
            }
        ),
        "last_final_ms": optional(_TIME),
        "known_height": _HEIGHT,
        "known_epoch": _HEIGHT,
        "clock_offsets": array_of(closed_object({"member": _MEMBER, "offset_ms": {"type": "integer"}})),
        # Bytes; null where the system does not say.
        "disk_free_size": optional(_COUNT),
        "swallowing": array_of(_MEMBER),
    }
)
_STATUS: Final = closed_object(
    {
        # The release that the node runs.
        "version": _TEXT,
        "member": _MEMBER,
        "kind": _TEXT,
        "epoch": _HEIGHT,
        "chain_id": _HASH,
        "height": _HEIGHT,
        "block_hash": _HASH,
        "state_root": _HASH,
        "time_ms": _TIME,
        "view": _HEIGHT,
        "finalized_view": _HEIGHT,
        "is_voting": _FLAG,
        "is_amnesiac": _FLAG,
        "peers_connected": array_of(_TEXT),
        "sync": optional(_SYNC),
        "missing_blocks": optional({"type": "array", "minItems": 2, "maxItems": 2, "items": _HEIGHT}),
        # Why a validator follows instead of voting, and what cures it.
        "lack": optional(_TEXT),
        "mempool_count": _COUNT,
        "mempool_size": _COUNT,
        "condition": _CONDITION,
    }
)


def _record(record_class: type) -> dict[str, Json]:
    return closed_object({"record": _shapes.reference(record_class), **_PROVEN})


DESCRIBED: Final[Mapping[str, Described]] = {
    "POST /v1/transactions": Described(closed_object({"results": array_of(_SUBMISSION)})),
    "GET /v1/transactions/{id}": Described(_SUBMISSION, {"id": _HASH}),
    "POST /v1/relay": Described(_SUBMISSION),
    "POST /v1/evidence": Described(closed_object({"evidence": _BYTES})),
    # Issuers and anchors are in the order of the question; null stands for a document that is revoked.
    "POST /v1/evidence/documents": Described(_shapes.reference(DocumentsEvidence)),
    "GET /v1/state/{key}": Described(closed_object(_PROVEN), {"key": _HASH}),
    "GET /v1/members": Described(closed_object({"members": array_of(_shapes.reference(Member))})),
    "GET /v1/members/{member}": Described(_record(Member), {"member": _MEMBER}),
    "GET /v1/consents/{key}/{id}": Described(_record(Consent), {"key": _KEY_TEXT, "id": _HASH}),
    "GET /v1/proposals": Described(
        closed_object({"proposals": array_of(closed_object(_DECIDED)), "next": optional(_HASH)})
    ),
    "GET /v1/proposals/{id}": Described(closed_object({**_DECIDED, **_PROVEN}), {"id": _HASH}),
    "GET /v1/validators": Described(_record(Validators)),
    "GET /v1/misbehaviour": Described(
        closed_object({"misbehaviour": array_of(_shapes.reference(Misbehaviour)), "is_complete": _FLAG})
    ),
    "GET /v1/blocks": Described(closed_object({"blocks": array_of(_BLOCK)})),
    "GET /v1/blocks/{height}": Described(_BLOCK, {"height": _NUMBER_TEXT}),
    "GET /v1/genesis": Described(_shapes.reference(Genesis)),
    "GET /v1/status": Described(_STATUS),
    "GET /v1/health": Described(closed_object({"health": {"const": "up"}})),
    "GET /v1/ready": Described(closed_object({"ready": {"const": True}})),
    "GET /v1/openapi.json": Described({"type": "object", "required": ["openapi", "info", "paths"]}),
}
SCHEMAS: Final[Mapping[str, Json]] = _shapes.components
