"""What a running node offers to its API, whatever drives it.

Rule 1: one call reads one version of the state: every path, the header and the certificate belong together.
Rule 2: a submission is answered when it is final, when it is refused for a stated reason, or when the
caller's time is up; until then nothing is claimed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, Protocol

from ledger.encoding.records import Hash, Height, MemberId, Milliseconds, Octets
from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.proofs import Evidence, EvidenceRequest, ProvenLeaf
from ledger.rules.blocks import Block
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.state import LEAF_SIZE_MAX
from ledger.trees.statetree import AbsenceProof
from ledger.trust import FinalizedHeader, TrustPath
from node.condition import Condition
from node.errors import MempoolError
from node.evidence import DocumentsEvidence, DocumentsRequest
from node.progress import SyncProgress

if TYPE_CHECKING:
    # What a client reads of this module works without a node's extra.
    from prometheus_client import CollectorRegistry

FINAL: Final = "final"
PENDING: Final = "pending"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of one transaction: height and time of a final one, the error of a refused one."""

    id: bytes
    state: str
    height: int | None = None
    time_ms: int | None = None
    error: LedgerError | MempoolError | None = None

    def __post_init__(self) -> None:
        # The frames that raised it hold what was sent, up to a whole body, and this answer among their own values.
        if self.error is not None:
            self.error.__cause__ = self.error.__context__ = self.error.__traceback__ = None


@dataclass(frozen=True, slots=True)
class ProvenValue:
    """A leaf of the state with the proof of its presence, or the proof of its absence (value None)."""

    value: Annotated[bytes, Octets(1, LEAF_SIZE_MAX)] | None
    present: ProvenLeaf | None
    absent: AbsenceProof | None
    at: FinalizedHeader
    trust_path: TrustPath


@dataclass(frozen=True, slots=True)
class Status:
    """What an operator asks first. `version` is the release that the node runs.

    `condition` says whether it is well and ready. It was observed at `observed_ms`, by this node's clock.
    """

    version: str
    member: MemberId
    kind: str
    epoch: Height
    chain_id: Hash
    height: Height
    block_hash: Hash
    state_root: Hash
    time_ms: Milliseconds
    view: Height
    finalized_view: Height
    is_voting: bool
    is_amnesiac: bool
    peers_connected: tuple[str, ...]
    mempool_count: int
    mempool_size: int
    sync: SyncProgress | None = None
    missing_blocks: tuple[int, int] | None = None
    lack: str | None = None
    """Why a validator follows instead of voting, and what cures it (docs/starting.md)."""
    condition: Condition = field(default_factory=Condition)
    observed_ms: Milliseconds = 0

    def to_unix_ms(self, monotonic_ms: int) -> int:
        """Return a time of the observations in milliseconds of the Unix epoch, by this node's clock."""
        return self.observed_ms - (self.condition.observations.now_ms - monotonic_ms)


@dataclass(frozen=True, slots=True)
class ServedTexts:
    """A text bundle as it is served: its file, and the hash of that."""

    hash: bytes
    encoded: bytes


class NotHeld(LedgerError):
    """A block that this node does not hold: a snapshot stood in for it. Nodes that were there from the start do."""

    code = "not-held"


class NodeService(Protocol):
    """A running node."""

    @property
    def genesis(self) -> Genesis: ...

    @property
    def registry(self) -> "CollectorRegistry":
        """Where this node's metrics are registered, those of its API with them."""
        ...

    def status(self) -> Status: ...

    def find_texts(self, wanted: bytes) -> ServedTexts | None:
        """Return the text bundle of a 32-byte hash, or one with a notice of that version; None where there is none."""
        ...

    async def submit(self, transactions: Sequence[bytes], *, wait_ms: int) -> list[Submission]:
        """Take transactions of members; wait up to `wait_ms` for them to be final. Never raises for input."""
        ...

    async def relay(self, operations: Sequence[bytes], *, wait_ms: int) -> Submission:
        """Carry one holder's encoded Grant and Withdraw operations in a transaction of this node's member.

        Raises LedgerError where they are anything else, NotReady where the node has no member key online.
        """
        ...

    def find_submission(self, transaction_id: bytes) -> Submission | None:
        """Return what is known of a transaction: final, or waiting here; None where it is unknown."""
        ...

    def evidence(self, request: EvidenceRequest) -> Evidence:
        """Return evidence for a proof. Raises LedgerError where anchor or consent are not recorded."""
        ...

    async def documents_evidence(self, request: DocumentsRequest) -> DocumentsEvidence:
        """Return evidence of many documents. Raises LedgerError where an anchor or the consent is not recorded.

        It takes turns with whatever else the node does.
        """
        ...

    def member_ids(self) -> tuple[str, ...]:
        """Return the ids of all members, in order."""
        ...

    def prove(self, key: bytes) -> ProvenValue:
        """Return a leaf by its 32-byte state key, with its proof. Raises NotReady before the first block."""
        ...

    def find_block(self, height: int) -> Block | None:
        """Return a final block. Raises NotHeld where a snapshot stood in for it."""
        ...

    def was_damaged(self, error: Exception) -> None:
        """Take note that what is stored cannot be read: the node stops."""
        ...

    def find_certificate(self, height: int) -> QuorumCertificate | None:
        """Return the certificate of the lowest directly finalized block at or above `height`."""
        ...

    async def wait_for_height(self, height: int) -> None:
        """Return once a block of this height is final."""
        ...
