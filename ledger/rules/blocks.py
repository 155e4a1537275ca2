"""Blocks: a signed-over header and the transactions that its root names (docs/formats.md, Blocks).

Rule 1: the header is kept as the bytes that were received; the block's hash is over exactly these.
Rule 2: a header's state root is the root after its own transactions, so a certificate over the header proves
the state at once. Its history root covers the hashes of all blocks below it, genesis included.
Rule 3: time is strictly above the parent's.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from ledger.encoding.digests import tagged_digest
from ledger.encoding.keys import SUITE
from ledger.encoding.records import Hash, Height, MemberId, Milliseconds, Uint, pack, unpack
from ledger.errors import LedgerError
from ledger.rules.certificates import FINALIZE, QuorumCertificate
from ledger.rules.transactions import Transaction
from ledger.trees.merkle import Tree

HEADER_VERSION: Final = 1
BLOCK_TAG: Final = "luohu/block/1"
HEADER_SIZE_MAX: Final = 512
BLOCK_TRANSACTIONS_MAX: Final = 8_192
NO_HASH: Final = bytes(32)


class BlockError(LedgerError):
    """A block that does not follow from its parent."""

    code = "block"


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header. `next_validators_hash` stands in an epoch's seal only; genesis has no proposer."""

    version: Annotated[int, Uint(HEADER_VERSION, minimum=HEADER_VERSION)]
    suite: Annotated[int, Uint(SUITE, minimum=SUITE)]
    chain_id: Hash
    epoch: Height
    view: Height
    height: Height
    time_ms: Milliseconds
    parent_hash: Hash
    transactions_root: Hash
    state_root: Hash
    history_root: Hash
    validators_hash: Hash
    next_validators_hash: Hash | None
    proposer: MemberId | None

    @property
    def is_seal(self) -> bool:
        """Whether this is the last header of its epoch."""
        return self.next_validators_hash is not None

    def may_be_certified_in(self, view: int) -> bool:
        """Say whether a certificate over this header can be of a view: its own, or for a seal a later one."""
        return view == self.view or (self.is_seal and view > self.view)


@dataclass(frozen=True, slots=True)
class EncodedHeader:
    """A header with the bytes that are hashed and signed over, and their hash."""

    encoded: bytes
    header: Header
    hash: bytes

    @classmethod
    def decode(cls, encoded: bytes) -> "EncodedHeader":
        """Decode a header. Raises EncodingError."""
        header = unpack(Header, encoded, size_max=HEADER_SIZE_MAX)
        return cls(encoded, header, tagged_digest(BLOCK_TAG, encoded))

    @classmethod
    def encode(cls, header: Header) -> "EncodedHeader":
        """Encode a header. Raises EncodingError where a field does not fit."""
        encoded = pack(header)
        return cls(encoded, header, tagged_digest(BLOCK_TAG, encoded))

    def is_named_by(self, certificate: QuorumCertificate) -> bool:
        """Say whether a certificate claims to finalize this header. Its signatures are another question."""
        subject = certificate.subject
        named = (subject.kind, subject.epoch, subject.block_hash)
        is_own = named == (FINALIZE, self.header.epoch, self.hash)
        return is_own and self.header.may_be_certified_in(subject.view)


@dataclass(frozen=True, slots=True)
class Block:
    """A header and the transactions under its root, in order."""

    encoded_header: EncodedHeader
    transactions: tuple[Transaction, ...]

    @property
    def header(self) -> Header:
        return self.encoded_header.header

    @property
    def hash(self) -> bytes:
        """The 32-byte hash of the header's bytes."""
        return self.encoded_header.hash


def transactions_root(transaction_ids: tuple[bytes, ...]) -> bytes:
    """Return the RFC 9162 root over transaction ids; of no transactions, the root of the empty tree."""
    return Tree(transaction_ids).root()
