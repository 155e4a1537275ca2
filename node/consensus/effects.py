"""What the core wants done. The driver performs effects in the order given.

Rule 1: `Persist` stands first. Nothing after it is performed before its records are synced; if that
fails, the node stops.
Rule 2: every other effect may be lost with a crash.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.rules.certificates import QuorumCertificate, Vote
from node.consensus.journal import JournalRecord
from node.consensus.messages import Message

BAD_SIGNATURE: Final = "bad-signature"
FOREIGN_VOTE: Final = "vote-not-from-its-signer"
NOT_THE_LEADER: Final = "proposal-not-from-the-leader"
BAD_CERTIFICATE: Final = "bad-certificate"
BAD_ANSWER: Final = "answer-with-votes-of-another"
CONFLICTING_VOTES: Final = "conflicting-votes"


@dataclass(frozen=True, slots=True)
class Persist:
    """Append to the vote log and sync."""

    records: tuple[JournalRecord, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send to every connected node, observers included."""

    message: Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send to one validator."""

    peer: int
    message: Message


@dataclass(frozen=True, slots=True)
class Build:
    """Build this validator's block for `view`, make it durable, and answer with `Built`, however late.

    Where `parent_hash` is the epoch's unfinalized seal, the block is that seal again.
    """

    view: int
    parent_view: int
    parent_hash: bytes


@dataclass(frozen=True, slots=True)
class Verify:
    """Check that the proposed block extends its parent by the rules; answer with `Verified`, however late.

    What is missing (the block, transaction bodies, the parent's state) is fetched first, if need be from the leader.
    """

    view: int
    block_hash: bytes
    parent_hash: bytes
    leader: int


@dataclass(frozen=True, slots=True)
class Certify:
    """Execute a notarized block, make it recoverable, and answer with `Certified`, however late."""

    view: int
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class CancelCertify:
    """The answer for this view is no longer needed."""

    view: int


@dataclass(frozen=True, slots=True)
class RequestBlock:
    """Fetch a notarized block from one of these validators, which signed it. Repeated until it is here."""

    block_hash: bytes
    peers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finalized:
    """The certificate's block and all its ancestors are final."""

    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Two votes of one validator that exclude each other."""

    first: Vote
    second: Vote


@dataclass(frozen=True, slots=True)
class Punish:
    """A peer broke the protocol: disconnect it for a while."""

    peer: int
    reason: str


@dataclass(frozen=True, slots=True)
class AmnesiaEnded:
    """Finality passed all that may have been forgotten: this validator votes again."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A fact for logs and replay; it asks for nothing."""

    name: str
    fields: tuple[tuple[str, int | str], ...]


Effect: TypeAlias = (
    Persist
    | Broadcast
    | Send
    | Build
    | Verify
    | Certify
    | CancelCertify
    | RequestBlock
    | Finalized
    | Misbehaviour
    | Punish
    | AmnesiaEnded
    | Trace
)
