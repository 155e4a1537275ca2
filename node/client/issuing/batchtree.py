"""The tree over a batch of up to a million commitments, in one array of hashes.

Rule 1: it is the tree of ledger.trees.merkle, hash for hash; its root and paths verify there.
Rule 2: every level lies in one array, the leaves first, so that a path is read from it and nothing is built again.
Rule 3: an array that is read back has exactly the hashes that its count of leaves takes.
"""

from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Final

from ledger.encoding.digests import HASH_SIZE, digest
from ledger.errors import ProofError
from ledger.trees.merkle import TreePath, leaf_hash

LEAVES_MAX: Final = 1_000_000

_INNER: Final = b"\x01"


class BatchTree:
    """A batch's tree: 64 bytes for each leaf, in memory or as `nodes` on a disk."""

    __slots__ = ("_starts", "nodes", "size")

    def __init__(self, size: int, nodes: bytes | bytearray) -> None:
        """Take a tree's stored nodes. Raises ProofError where there are not as many as `size` leaves take."""
        self.size = size
        self.nodes = nodes
        self._starts = _level_starts(size)
        if len(nodes) != self._starts[-1] * HASH_SIZE:
            raise ProofError(
                where="batch tree", expected=f"{self._starts[-1]} hashes", found=f"{len(nodes)} bytes"
            )

    @classmethod
    def build(cls, commitments: Iterable[bytes], size: int) -> "BatchTree":
        """Hash the tree over `size` commitments, as they come in the order of the leaves.

        Raises ProofError past a million, and where there are more or fewer.
        """
        starts = _level_starts(size)
        nodes = bytearray(starts[-1] * HASH_SIZE)
        count = 0
        for commitment in islice(commitments, size + 1):
            at = min(count, size - 1) * HASH_SIZE
            nodes[at : at + HASH_SIZE] = leaf_hash(commitment)
            count += 1
        if count != size:
            raise ProofError(
                where="batch tree",
                expected=f"{size} commitments",
                found=f"{count}" if count < size else "more",
            )
        for below, start in pairwise(starts[:-1]):
            _hash_level(nodes, below * HASH_SIZE, start * HASH_SIZE)
        return cls(size, nodes)

    def root(self) -> bytes:
        """Return the 32-byte root."""
        return bytes(self.nodes[-HASH_SIZE:])

    def path(self, index: int) -> TreePath:
        """Return the path of one leaf. Raises ProofError where there is no such leaf."""
        if not 0 <= index < self.size:
            raise ProofError(
                where="batch tree", expected=f"a leaf from 0 to {self.size - 1}", found=f"{index}"
            )
        siblings, position = [], index
        for start, end in pairwise(self._starts[:-1]):
            sibling = start + (position ^ 1)
            if sibling < end:
                siblings.append(bytes(self.nodes[sibling * HASH_SIZE : (sibling + 1) * HASH_SIZE]))
            position >>= 1
        return TreePath(index, tuple(siblings))


def _level_starts(size: int) -> tuple[int, ...]:
    """Return where each level starts, counted in hashes, and where the last one ends."""
    if not 1 <= size <= LEAVES_MAX:
        raise ProofError(where="batch tree", expected=f"1 to {LEAVES_MAX} leaves", found=f"{size}")
    starts, count = [0], size
    while count > 1:
        starts.append(starts[-1] + count)
        count = (count + 1) // 2
    return (*starts, starts[-1] + 1)


def _hash_level(nodes: bytearray, below: int, start: int) -> None:
    """Hash the level that starts at byte `start` from the one between `below` and it."""
    pair, at = 2 * HASH_SIZE, start
    whole = start - (start - below) % pair
    for left in range(below, whole, pair):
        nodes[at : at + HASH_SIZE] = digest(_INNER + nodes[left : left + pair])
        at += HASH_SIZE
    if whole < start:  # the odd node is carried up as it is
        nodes[at : at + HASH_SIZE] = nodes[whole:start]
