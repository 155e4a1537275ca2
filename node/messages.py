"""What nodes say to each other, beside consensus itself (docs/formats.md, Peer messages).

Rule 1: every message is one canonical record; anything else is an offence of the peer that sent it.
Rule 2: proposals name transactions by id. Whoever lacks a body asks for it.
Rule 3: every answer is bounded in count and bytes, and is checked as if a stranger had sent it.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, cast

from ledger.chain.snapshots import CHUNK_SIZE_MAX, ChunkIndex, Description
from ledger.encoding.codec import encode_checked
from ledger.encoding.records import Code, Hash, Height, Items, Octets, Uint, to_value, unpack_union
from ledger.rules.blocks import BLOCK_TRANSACTIONS_MAX, HEADER_SIZE_MAX
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.transactions import TRANSACTION_SIZE_MAX
from ledger.trees.merkle import SIBLINGS_MAX
from ledger.trust import History, TrustPath

MESSAGE_SIZE_MAX: Final = 6 * 1024 * 1024
GOSSIP_SIZE_MAX: Final = 2 * 1024 * 1024
CATCH_UP_BLOCKS_MAX: Final = 64
CATCH_UP_SIZE_MAX: Final = 4 * 1024 * 1024
CONSENSUS_MESSAGE_SIZE_MAX: Final = 64 * 1024

BLOCKS: Final = "blocks"
SNAPSHOT: Final = "snapshot"
CHUNK: Final = "chunk"
BUSY: Final = "busy"

HeaderBytes = Annotated[bytes, Octets(1, HEADER_SIZE_MAX)]
TransactionBytes = Annotated[bytes, Octets(1, TRANSACTION_SIZE_MAX)]
TransactionIds = Annotated[tuple[Hash, ...], Items(BLOCK_TRANSACTIONS_MAX)]
Transactions = Annotated[tuple[TransactionBytes, ...], Items(BLOCK_TRANSACTIONS_MAX)]
ConsensusBytes = Annotated[bytes, Octets(1, CONSENSUS_MESSAGE_SIZE_MAX)]


@dataclass(frozen=True, slots=True)
class Consensus:
    """A message of the consensus core."""

    TAG: ClassVar[str] = "consensus"

    message: ConsensusBytes


@dataclass(frozen=True, slots=True)
class BlockProposal:
    """A leader's proposal: its notarize vote (a consensus message), header, and transactions by id."""

    TAG: ClassVar[str] = "proposal"

    message: ConsensusBytes
    header: HeaderBytes
    transaction_ids: TransactionIds


@dataclass(frozen=True, slots=True)
class Gossip:
    """Transactions for the peer's mempool, or that it asked for."""

    TAG: ClassVar[str] = "gossip"

    transactions: Annotated[tuple[TransactionBytes, ...], Items(BLOCK_TRANSACTIONS_MAX, minimum=1)]


@dataclass(frozen=True, slots=True)
class WantTransactions:
    """Ask for the bodies of transactions."""

    TAG: ClassVar[str] = "want-transactions"

    ids: Annotated[tuple[Hash, ...], Items(BLOCK_TRANSACTIONS_MAX, minimum=1)]


@dataclass(frozen=True, slots=True)
class WantBlock:
    """Ask for a block that is not final yet."""

    TAG: ClassVar[str] = "want-block"

    block_hash: Hash


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as it is stored: header bytes and transaction bytes."""

    TAG: ClassVar[str] = "block"

    header: HeaderBytes
    transactions: Transactions


@dataclass(frozen=True, slots=True)
class WantFinal:
    """Ask for final blocks from a height on."""

    TAG: ClassVar[str] = "want-final"

    height: Height
    count: Annotated[int, Uint(CATCH_UP_BLOCKS_MAX, minimum=1)]


@dataclass(frozen=True, slots=True)
class FinalBlocks:
    """Consecutive final blocks; the last stands by its certificate, or by the history of a certified one."""

    TAG: ClassVar[str] = "final-blocks"

    height: Height
    blocks: Annotated[tuple[StoredBlock, ...], Items(CATCH_UP_BLOCKS_MAX, minimum=1)]
    certificate: QuorumCertificate | None
    history: History | None
    tip_height: Height


@dataclass(frozen=True, slots=True)
class WantSnapshot:
    """Ask for the newest snapshot above a height, with a trust path from an epoch."""

    TAG: ClassVar[str] = "want-snapshot"

    from_epoch: Height
    above: Height


@dataclass(frozen=True, slots=True)
class SnapshotOffer:
    """A snapshot that the sender holds, and why its block is final."""

    TAG: ClassVar[str] = "snapshot-offer"

    description: Description
    certificate: QuorumCertificate | None
    trust_path: TrustPath


@dataclass(frozen=True, slots=True)
class WantChunk:
    """Ask for a chunk of a snapshot."""

    TAG: ClassVar[str] = "want-chunk"

    height: Height
    chunks_root: Hash
    index: ChunkIndex


@dataclass(frozen=True, slots=True)
class SnapshotChunk:
    """A chunk of a snapshot, with its path under the root."""

    TAG: ClassVar[str] = "snapshot-chunk"

    height: Height
    chunks_root: Hash
    index: ChunkIndex
    chunk: Annotated[bytes, Octets(1, CHUNK_SIZE_MAX)]
    siblings: Annotated[tuple[Hash, ...], Items(SIBLINGS_MAX)]


@dataclass(frozen=True, slots=True)
class NotHeld:
    """The answer to a request that the sender cannot serve, so that another is asked at once."""

    TAG: ClassVar[str] = "not-held"

    what: Annotated[str, Code((BLOCKS, SNAPSHOT, CHUNK, BUSY))]
    height: Height
    index: ChunkIndex
    from_height: Height
    tip_height: Height


SyncRequest: TypeAlias = WantFinal | WantSnapshot | WantChunk
SyncAnswer: TypeAlias = FinalBlocks | SnapshotOffer | SnapshotChunk | NotHeld
PeerMessage: TypeAlias = (
    Consensus
    | BlockProposal
    | Gossip
    | WantTransactions
    | WantBlock
    | StoredBlock
    | WantFinal
    | FinalBlocks
    | WantSnapshot
    | SnapshotOffer
    | WantChunk
    | SnapshotChunk
    | NotHeld
)


def encode_peer_message(message: PeerMessage) -> bytes:
    """Return a message's canonical bytes."""
    return encode_checked(to_value(message))


def decode_peer_message(data: bytes) -> PeerMessage:
    """Return the message that `data` encodes. Raises EncodingError."""
    return cast(PeerMessage, unpack_union(PeerMessage, data, size_max=MESSAGE_SIZE_MAX))
