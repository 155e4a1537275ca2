"""What clients were told, kept for the judge.

Rule 1: an answer is kept as it was given; nothing is concluded here.
Rule 2: a read is kept with the block that proves it: it was verified when it was made.
"""

from dataclasses import dataclass, field

from ledger.rules.operations import (
    AnchorBatch,
    CloseConsent,
    Grant,
    Operation,
    RecordVerification,
    RevokeAnchor,
    RevokeDocument,
    RotateTls,
    Withdraw,
)
from ledger.rules.state import anchor_key, consent_key, node_key, revocation_key, verification_key
from ledger.rules.transactions import Transaction


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A transaction that a client was told is final, at which height."""

    id: bytes
    height: int
    member: str


@dataclass(frozen=True, slots=True)
class RefusedForGood:
    """A transaction that was given to one node once, and that this node refused."""

    id: bytes
    code: str
    member: str


@dataclass(frozen=True, slots=True)
class Read:
    """A verified answer: this key has this value, or none, in the state of this final block."""

    key: bytes
    value: bytes | None
    height: int
    block_hash: bytes
    member: str


@dataclass(frozen=True, slots=True)
class Rotated:
    """A rotation of a member's TLS certificate that the command reported; without a height where it was so before."""

    member: str
    sequence: int
    height: int | None


@dataclass(slots=True)
class History:
    """Everything that clients were told in one run."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: list[RefusedForGood] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    rotations: list[Rotated] = field(default_factory=list)
    submitted_count: int = 0
    unknown_count: int = 0
    bad_answers: list[str] = field(default_factory=list)
    """What no node may answer: a proof that does not verify, an answer that is none of this API."""


def keys_created(transaction: Transaction) -> list[bytes]:
    """Return the state keys of the records that a transaction makes or ends, without those it only changes."""
    return [_key(operation, transaction.body.sender) for operation in transaction.body.operations]


def _key(operation: Operation, sender: str) -> bytes:
    match operation:
        case AnchorBatch(root=root) | RevokeAnchor(root=root):
            return anchor_key(sender, root)
        case RevokeDocument(commitment=commitment):
            return revocation_key(sender, commitment)
        case Grant():
            return consent_key(operation.decoded().consent_key, operation.consent_id)
        case Withdraw():
            body = operation.decoded()
            return consent_key(body.consent_key, body.consent_id)
        case CloseConsent(consent_key=key, consent_id=consent_id):
            return consent_key(key, consent_id)
        case RecordVerification(consent_key=key, consent_id=consent_id, slot=slot):
            return verification_key(key, consent_id, slot)
        case RotateTls():
            return node_key(sender)
        case _:
            raise NotImplementedError(f"clients here send no {operation.TAG}")
