"""Snapshots: the state after one block, in chunks under one root (docs/sync.md; docs/decisions/0005).

Rule 1: a snapshot is made after every block whose height is a multiple of SNAPSHOT_INTERVAL. Its bytes follow from the
state alone: leaves in order of their state keys, cut greedily into chunks of at most CHUNK_LEAVES_SIZE bytes.
Rule 2: keys are not sent. A leaf names itself, so a chunk whose leaves are out of order, doubled or no leaves is
refused.
Rule 3: a description proves nothing. The header is trusted by its certificate; the frontier must give its
history root, and the leaves its state root.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, cast

from ledger.encoding.records import Hash, Items, Octets, Uint, pack, unpack, unpack_union
from ledger.errors import LedgerError
from ledger.rules.blocks import HEADER_SIZE_MAX, EncodedHeader
from ledger.rules.proposals import Governance, Proposal
from ledger.rules.state import (
    LEAF_SIZE_MAX,
    Anchor,
    Consent,
    FormerValidators,
    LatestMisbehaviour,
    Leaf,
    Member,
    Members,
    Misbehaviour,
    Network,
    Node,
    Parameters,
    Purpose,
    Revocation,
    Schema,
    Validators,
    Verification,
)
from ledger.trees.merkle import Frontier, TreePath, verify_inclusion
from ledger.trees.statepages import PageSource, Update, update
from ledger.trees.statetree import value_hash

SNAPSHOT_INTERVAL: Final = 8_192
CHUNK_LEAVES_SIZE: Final = 256 * 1024
CHUNK_LEAVES_MAX: Final = 16_384
CHUNK_SIZE_MAX: Final = 512 * 1024
CHUNKS_MAX: Final = 2**20
DESCRIPTION_SIZE_MAX: Final = 4_096

AnyLeaf: TypeAlias = (
    Member
    | Members
    | Node
    | Schema
    | Purpose
    | Network
    | Parameters
    | Validators
    | Anchor
    | Revocation
    | Consent
    | Verification
    | Proposal
    | Governance
    | Misbehaviour
    | LatestMisbehaviour
    | FormerValidators
)
"""Every kind of leaf that a state holds."""

LeafBytes = Annotated[bytes, Octets(1, LEAF_SIZE_MAX)]
ChunkIndex = Annotated[int, Uint(CHUNKS_MAX - 1)]


class SnapshotError(LedgerError):
    """A snapshot that is not the state of its block."""

    code = "snapshot"


@dataclass(frozen=True, slots=True)
class Description:
    """What a snapshot is of, and how much: the block, the history below it, and the root over the chunks."""

    TAG: ClassVar[str] = "snapshot"

    header: Annotated[bytes, Octets(1, HEADER_SIZE_MAX)]
    history: Frontier
    leaves_count: Annotated[int, Uint(2**53 - 1, minimum=1)]
    leaves_size: Annotated[int, Uint(2**53 - 1, minimum=1)]
    chunks_count: Annotated[int, Uint(CHUNKS_MAX, minimum=1)]
    chunks_root: Hash

    def encoded_header(self) -> EncodedHeader:
        """Return the block's header. Raises EncodingError."""
        return EncodedHeader.decode(self.header)

    def check(self) -> EncodedHeader:
        """Check the frontier against the header, and return it. Raises LedgerError. Trust is another question."""
        encoded_header = self.encoded_header()
        height, root = encoded_header.header.height, self.history.root()
        if self.history.size != height:
            raise SnapshotError(
                where="snapshot history", expected=f"{height} blocks", found=f"{self.history.size}"
            )
        if root != encoded_header.header.history_root:
            raise SnapshotError(
                where="snapshot history",
                expected=f"the root {encoded_header.header.history_root.hex()}",
                found=root.hex(),
            )
        return encoded_header


@dataclass(frozen=True, slots=True)
class _Chunk:
    TAG: ClassVar[str] = "chunk"

    leaves: Annotated[tuple[LeafBytes, ...], Items(CHUNK_LEAVES_MAX, minimum=1)]


def is_snapshot_height(height: int, interval: int = SNAPSHOT_INTERVAL) -> bool:
    """Say whether the state after the block at this height is a snapshot (rule 1). Genesis needs none."""
    return height > 0 and height % interval == 0


def encode_chunks(leaves: Iterable[bytes], *, size: int = CHUNK_LEAVES_SIZE) -> Iterator[bytes]:
    """Yield the chunks of a state, given its leaves in order of their state keys."""
    pending: list[bytes] = []
    pending_size = 0
    for leaf in leaves:
        if pending and (pending_size + len(leaf) > size or len(pending) == CHUNK_LEAVES_MAX):
            yield pack(_Chunk(tuple(pending)))
            pending, pending_size = [], 0
        pending.append(leaf)
        pending_size += len(leaf)
    if pending:
        yield pack(_Chunk(tuple(pending)))


def decode_chunk(encoded: bytes) -> list[tuple[bytes, bytes]]:
    """Return the leaves of a chunk as (state key, value), their keys strictly increasing. Raises LedgerError."""
    chunk = unpack(_Chunk, encoded, size_max=CHUNK_SIZE_MAX)
    leaves: list[tuple[bytes, bytes]] = []
    for value in chunk.leaves:
        leaf = cast(Leaf, unpack_union(AnyLeaf, value, size_max=LEAF_SIZE_MAX))
        key = leaf.state_key()
        if leaves and key <= leaves[-1][0]:
            raise SnapshotError(
                where="snapshot chunk", expected=f"a key after {leaves[-1][0].hex()}", found=key.hex()
            )
        leaves.append((key, value))
    return leaves


def check_chunk(description: Description, index: int, encoded: bytes, siblings: tuple[bytes, ...]) -> None:
    """Check that these are the bytes of a chunk under the root of a description. Raises LedgerError."""
    path = TreePath(index, siblings)
    verify_inclusion(encoded, path, size=description.chunks_count, root=description.chunks_root)


class Rebuilding:
    """A state tree that grows chunk by chunk, in order, from leaves that nobody vouches for."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.leaves_count = 0
        self.leaves_size = 0
        self._last_key = b""

    def add(self, source: PageSource, leaves: list[tuple[bytes, bytes]]) -> Update:
        """Return what the next chunk's leaves change. `source` holds the pages of all before. Raises LedgerError."""
        if leaves[0][0] <= self._last_key:
            raise SnapshotError(
                where="snapshot chunk",
                expected=f"a key after {self._last_key.hex()}",
                found=leaves[0][0].hex(),
            )
        grown = update(source, self.root, [(key, value_hash(value)) for key, value in leaves])
        self.root = grown.root
        self.leaves_count += len(leaves)
        self.leaves_size += sum(len(value) for _, value in leaves)
        self._last_key = leaves[-1][0]
        return grown

    def check(self, description: Description) -> None:
        """Check that these are all the leaves of the block's state. Raises SnapshotError."""
        expected = description.encoded_header().header.state_root
        if self.root != expected:
            raise SnapshotError(
                where="snapshot", expected=f"the state root {expected.hex()}", found=self.root.hex()
            )
        counted = (self.leaves_count, self.leaves_size)
        stated = (description.leaves_count, description.leaves_size)
        if counted != stated:
            raise SnapshotError(
                where="snapshot", expected=f"{stated[0]} leaves of {stated[1]} bytes", found=f"{counted}"
            )
