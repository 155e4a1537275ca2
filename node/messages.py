"""What nodes say to each other, beside consensus itself (docs/formats.md, Peer messages).

Rule 1: every message is one canonical record; anything else is an offence of the peer that sent it.
Rule 2: proposals name transactions by id. Whoever lacks a body asks for it.
Rule 3: every answer is bounded in count and bytes, and is checked as if a stranger had sent it.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, cast

from ledger.blocks import BLOCK_TRANSACTIONS_MAX, HEADER_SIZE_MAX
from ledger.certificates import QuorumCertificate
from ledger.codec import decode, encode
from ledger.records import Hash, Height, Items, Octets, Uint, to_value, union_from_value
from ledger.transactions import TRANSACTION_SIZE_MAX

MESSAGE_SIZE_MAX: Final = 6 * 1024 * 1024
GOSSIP_SIZE_MAX: Final = 2 * 1024 * 1024
CATCH_UP_BLOCKS_MAX: Final = 64
CATCH_UP_SIZE_MAX: Final = 4 * 1024 * 1024
CONSENSUS_MESSAGE_SIZE_MAX: Final = 64 * 1024

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
class Proposal:
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


@dataclass(frozen=True, slots=True)
class FinalBlocks:
    """Consecutive final blocks; the certificate finalizes the last of them."""

    TAG: ClassVar[str] = "final-blocks"

    blocks: Annotated[tuple[StoredBlock, ...], Items(CATCH_UP_BLOCKS_MAX)]
    certificate: QuorumCertificate | None
    tip_height: Annotated[int, Uint(2**53 - 1)]


PeerMessage: TypeAlias = (
    Consensus | Proposal | Gossip | WantTransactions | WantBlock | StoredBlock | WantFinal | FinalBlocks
)


def encode_peer_message(message: PeerMessage) -> bytes:
    """Return a message's canonical bytes."""
    return encode(to_value(message))


def decode_peer_message(data: bytes) -> PeerMessage:
    """Return the message that `data` encodes. Raises EncodingError."""
    return cast(PeerMessage, union_from_value(PeerMessage, decode(data, size_max=MESSAGE_SIZE_MAX)))
