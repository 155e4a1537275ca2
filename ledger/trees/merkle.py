"""Append-only Merkle trees as RFC 9162 section 2.1 defines them (docs/formats.md, Merkle trees).

Rule 1: a leaf is hashed under the byte 0x00 and an inner node under 0x01, so that neither can be read as the
other, nor as a node of the state tree.
Rule 2: the odd node of a level is carried up as it is, never doubled: two lists never share a root.
Rule 3: the size of the tree comes from whoever trusts the root, never from the path. It fixes how many
siblings a path has and on which side each stands, so that every byte of a path is hashed or refused.
Rule 4: the tree of no leaves has a root (the digest of nothing) but proves nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from ledger.encoding.arguments import describe, find_view, require_bytes, require_whole
from ledger.encoding.digests import HASH_SIZE, digest, running_digest
from ledger.encoding.records import Hash, Integer, Items
from ledger.errors import ProofError, WrongCall

TREE_SIZE_MAX: Final = 2**64 - 1
SIBLINGS_MAX: Final = 64
CHUNK_SIZE: Final = 1024 * 1024

_LEAF: Final = b"\x00"
_INNER: Final = b"\x01"
_EMPTY_ROOT: Final = digest(b"")
_HASH_SIZES: Final = frozenset({HASH_SIZE})

LoadNode: TypeAlias = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree at (level, index), whose first leaf is index·2^level."""


@dataclass(frozen=True, slots=True)
class Node:
    """The root of a complete subtree of 2^level leaves, the index-th of its level."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class TreePath:
    """Why a leaf is in a tree: its index, and the siblings from the leaf up. It does not say the size."""

    index: Integer
    siblings: Annotated[tuple[Hash, ...], Items(SIBLINGS_MAX)]

    def __post_init__(self) -> None:
        _check_hashes("tree path", self.siblings)


@dataclass(frozen=True, slots=True)
class Frontier:
    """All it takes to append to a tree: its size and the roots of its complete subtrees, largest first."""

    size: Integer = 0
    peaks: Annotated[tuple[Hash, ...], Items(SIBLINGS_MAX)] = ()

    def __post_init__(self) -> None:
        _check_hashes("tree frontier", self.peaks)
        if len(self.peaks) != self.size.bit_count():
            raise ProofError(
                where="tree frontier",
                expected=f"{self.size.bit_count()} subtree roots for {self.size} leaves",
                found=f"{len(self.peaks)}",
            )

    def append(self, leaf: bytes) -> tuple["Frontier", tuple[Node, ...]]:
        """Return the tree with one more leaf, and the subtrees which that leaf completes, lowest first."""
        return self.append_hash(leaf_hash(leaf))

    def append_hash(self, hashed_leaf: bytes) -> tuple["Frontier", tuple[Node, ...]]:
        """Append a leaf by its hash."""
        if self.size == TREE_SIZE_MAX:
            raise ProofError(where="tree", expected=f"at most {TREE_SIZE_MAX} leaves", found="one more")
        index, current, peaks = self.size, hashed_leaf, list(self.peaks)
        completed = [Node(0, index, current)]
        while index & 1:
            index >>= 1
            current = digest(_INNER + peaks.pop() + current)
            completed.append(Node(len(completed), index, current))
        peaks.append(current)
        return Frontier(self.size + 1, tuple(peaks)), tuple(completed)

    def nodes(self) -> tuple[Node, ...]:
        """Return the complete subtrees with their places: all that paths of later leaves need of these."""
        found, first = [], 0
        levels = [level for level in reversed(range(self.size.bit_length())) if self.size >> level & 1]
        for level, peak in zip(levels, self.peaks, strict=True):
            found.append(Node(level, first >> level, peak))
            first += 1 << level
        return tuple(found)

    def root(self) -> bytes:
        """Return the root over everything appended so far."""
        return _joined(self.peaks) if self.peaks else _EMPTY_ROOT


class Tree:
    """A tree with every node in memory, for the paths of a whole batch: O(n) to build, O(log n) a path."""

    __slots__ = ("_levels", "size")

    def __init__(self, leaves: Iterable[bytes]) -> None:
        level = [leaf_hash(leaf) for leaf in leaves]
        self.size = len(level)
        self._levels = [level]
        while len(level) > 1:
            parents = [digest(_INNER + level[at] + level[at + 1]) for at in range(0, len(level) - 1, 2)]
            if len(level) & 1:
                parents.append(level[-1])  # Rule 2
            self._levels.append(parents)
            level = parents

    def root(self) -> bytes:
        """Return the root."""
        return self._levels[-1][0] if self.size else _EMPTY_ROOT

    def path(self, index: int) -> TreePath:
        """Return the path of one leaf. Raises ProofError where there is no such leaf."""
        _check_index(index, self.size)
        siblings, position = [], index
        for level in self._levels[:-1]:
            sibling = position ^ 1
            if sibling < len(level):
                siblings.append(level[sibling])
            position >>= 1
        return TreePath(index, tuple(siblings))

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree (a LoadNode)."""
        assert (index + 1) << level <= self.size, "only complete subtrees have a lasting hash"
        return self._levels[level][index]


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf's data."""
    return digest(_LEAF + leaf)


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over the data of `leaves`, which may be a stream: memory is O(log n)."""
    frontier = Frontier()
    for leaf in leaves:
        frontier, _ = frontier.append(leaf)
    return frontier.root()


@dataclass(frozen=True, slots=True)
class Content:
    """What a document's bytes come to: their size, and the root over their chunks. Raises WrongCall for other parts."""

    size: int
    root: bytes

    def __post_init__(self) -> None:
        cure = "Let a ContentHasher make it."
        require_whole("content size", self.size, maximum=TREE_SIZE_MAX, unit="bytes", cure=cure)
        require_bytes("content root", self.root, cure=cure, size=HASH_SIZE)


class ContentHasher:
    """Reads a document piece by piece, however it is cut, and holds nothing of it."""

    __slots__ = ("_chunk", "_filled", "_frontier", "_size")

    def __init__(self) -> None:
        self._frontier, self._chunk, self._filled, self._size = Frontier(), running_digest(_LEAF), 0, 0

    @property
    def size(self) -> int:
        """How many bytes were read."""
        return self._size

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """Read the next bytes of the document. Raises WrongCall where they are none, and reads nothing."""
        view = find_view("piece", piece)
        if view is None:
            cure = "Give the bytes as they come: a text is text.encode(), a file is read in binary mode."
            raise WrongCall(where="piece", expected="bytes", found=describe(piece), cure=cure)
        self._size += len(view)
        while len(view) >= CHUNK_SIZE - self._filled:
            taken = CHUNK_SIZE - self._filled
            self._chunk.update(view[:taken])
            self._frontier, _ = self._frontier.append_hash(self._chunk.digest())
            self._chunk, self._filled = running_digest(_LEAF), 0
            view = view[taken:]
        self._chunk.update(view)
        self._filled += len(view)

    def finish(self) -> Content:
        """Return what was read as a whole. Nothing at all is one empty chunk."""
        frontier = self._frontier
        if self._filled or self._size == 0:
            frontier, _ = frontier.append_hash(self._chunk.digest())
        return Content(self._size, frontier.root())


def content_root(pieces: Iterable[bytes]) -> tuple[int, bytes]:
    """Return the size of a document and the root over its chunks of CHUNK_SIZE bytes, however it is cut here.

    Nothing at all is one empty chunk.
    """
    hasher = ContentHasher()
    for piece in pieces:
        hasher.update(piece)
    content = hasher.finish()
    return content.size, content.root


def inclusion_path(leaves: Iterable[bytes], index: int) -> TreePath:
    """Return the path of one leaf. For many paths of one list, keep a Tree."""
    return Tree(leaves).path(index)


def inclusion_path_from_nodes(index: int, size: int, load_node: LoadNode) -> TreePath:
    """Return the path of one leaf in the tree of the first `size` leaves, from O(log n) stored nodes."""
    _check_index(index, size)
    siblings, first, end = [], 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            siblings.append(_span_root(middle, end, load_node))
            end = middle
        else:
            siblings.append(_span_root(first, middle, load_node))
            first = middle
    return TreePath(index, tuple(reversed(siblings)))


def verify_inclusion(leaf: bytes, path: TreePath, *, size: int, root: bytes) -> None:
    """Check that the data `leaf` stands at `path.index` of the tree with that size and root.

    Raises ProofError.
    """
    verify_hash_inclusion(leaf_hash(leaf), path, size=size, root=root)


def verify_hash_inclusion(hashed_leaf: bytes, path: TreePath, *, size: int, root: bytes) -> None:
    """The same for a leaf known by its hash. Raises ProofError."""
    _check_root("tree path", expected=root, found=_root_of_path(hashed_leaf, path, size=size))


def root_of_path(leaf: bytes, path: TreePath, *, size: int) -> bytes:
    """Return the root of the tree of that size in which the data `leaf` stands at `path.index`.

    Raises ProofError where no tree of that size has such a path.
    """
    return _root_of_path(leaf_hash(leaf), path, size=size)


def _root_of_path(hashed_leaf: bytes, path: TreePath, *, size: int) -> bytes:
    _check_hashes("leaf hash", (hashed_leaf,))
    _check_index(path.index, size)
    count = path_siblings_count(path.index, size)
    if len(path.siblings) != count:
        raise ProofError(
            where="tree path",
            expected=f"{count} siblings for leaf {path.index} of {size}",
            found=f"{len(path.siblings)}",
        )
    current, position, last = hashed_leaf, path.index, size - 1
    for sibling in path.siblings:
        while position == last and not position & 1:  # Rule 2: no sibling on this level
            position, last = position >> 1, last >> 1
        if position & 1:
            current = running_digest(_INNER + sibling + current).digest()
        else:
            current = running_digest(_INNER + current + sibling).digest()
        position, last = position >> 1, last >> 1
    return current


def path_siblings_count(index: int, size: int) -> int:
    """Return how many siblings the path of leaf `index` in a tree of `size` leaves has."""
    below = (index ^ (size - 1)).bit_length()
    return below + (index >> below).bit_count()


def consistency_path(leaves: Iterable[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return why the tree of `leaves` starts with its first `old_size` leaves."""
    tree = Tree(leaves)
    return consistency_path_from_nodes(old_size, tree.size, tree.node)


def consistency_path_from_nodes(old_size: int, size: int, load_node: LoadNode) -> tuple[bytes, ...]:
    """Return why the tree of `size` leaves starts with the tree of `old_size`, from O(log n) stored nodes."""
    _check_sizes(old_size, size)
    nodes, first, end = [], 0, size
    while old_size != end:
        middle = first + _split(end - first)
        if old_size <= middle:
            nodes.append(_span_root(middle, end, load_node))
            end = middle
        else:
            nodes.append(_span_root(first, middle, load_node))
            first = middle
    if first:  # else the old root itself stands here, and the verifier has it
        nodes.append(_span_root(first, end, load_node))
    return tuple(reversed(nodes))


def verify_consistency(
    path: Sequence[bytes], *, old_size: int, old_root: bytes, size: int, root: bytes
) -> None:
    """Check that the tree with `size` and `root` starts with the tree of `old_size` and `old_root`.

    Raises ProofError. A tree without leaves is the start of every tree, so it is refused: it proves nothing.
    """
    _check_sizes(old_size, size)
    _check_hashes("consistency path", path)
    count = _consistency_nodes_count(old_size, size)
    if len(path) != count:
        raise ProofError(
            where="consistency path",
            expected=f"{count} nodes from {old_size} to {size}",
            found=f"{len(path)}",
        )
    if old_size == size:
        _check_root("consistency path", expected=root, found=old_root)
        return
    # RFC 9162 section 2.1.4.2; an old tree that is complete is itself the first node. Once `position` is the
    # last of its level it stays so, and every further node stands on its left.
    nodes = (old_root, *path) if old_size & (old_size - 1) == 0 else path
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_found = found = nodes[0]
    for node in nodes[1:]:
        if position & 1 or position == last:
            old_found = digest(_INNER + node + old_found)
            found = digest(_INNER + node + found)
        else:
            found = digest(_INNER + found + node)
        position, last = position >> 1, last >> 1
    _check_root("consistency path from the old tree", expected=old_root, found=old_found)
    _check_root("consistency path", expected=root, found=found)


def _split(count: int) -> int:
    """The largest power of two below `count`, which is how many leaves the left subtree holds."""
    return 1 << ((count - 1).bit_length() - 1)


def _span_root(first: int, end: int, load_node: LoadNode) -> bytes:
    """The root over the leaves from `first` to before `end`, where that is a subtree of some tree."""
    peaks = []
    while first < end:
        level = (end - first).bit_length() - 1
        peaks.append(load_node(level, first >> level))
        first += 1 << level
    return _joined(peaks)


def _joined(peaks: Sequence[bytes]) -> bytes:
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = digest(_INNER + peak + root)
    return root


def _consistency_nodes_count(old_size: int, size: int) -> int:
    if old_size == size:
        return 0
    # The old tree's last complete subtree, seen as a leaf of its level, then the node itself unless it is
    # the whole old tree.
    level = (old_size & -old_size).bit_length() - 1
    siblings_count = path_siblings_count((old_size - 1) >> level, ((size - 1) >> level) + 1)
    return siblings_count + (old_size & (old_size - 1) != 0)


def _check_index(index: int, size: int) -> None:
    if size > TREE_SIZE_MAX:
        raise ProofError(where="tree", expected=f"at most {TREE_SIZE_MAX} leaves", found=f"{size}")
    if not 0 <= index < size:
        raise ProofError(where="tree path", expected=f"the index of one of {size} leaves", found=f"{index}")


def _check_sizes(old_size: int, size: int) -> None:
    if not 1 <= old_size <= size <= TREE_SIZE_MAX:
        raise ProofError(
            where="consistency path",
            expected=f"sizes with 1 <= old <= new <= {TREE_SIZE_MAX}",
            found=f"{old_size} and {size}",
        )


def _check_hashes(where: str, hashes: Sequence[bytes]) -> None:
    if len(hashes) > SIBLINGS_MAX:
        raise ProofError(where=where, expected=f"at most {SIBLINGS_MAX} hashes", found=f"{len(hashes)}")
    if set(map(len, hashes)) <= _HASH_SIZES:
        return
    for index, item in enumerate(hashes):
        if len(item) != HASH_SIZE:
            raise ProofError(
                where=f"{where}[{index}]", expected=f"{HASH_SIZE} bytes", found=f"{len(item)} bytes"
            )


def _check_root(where: str, *, expected: bytes, found: bytes) -> None:
    if expected != found:
        raise ProofError(where=where, expected=f"the root {expected.hex()}", found=found.hex())
