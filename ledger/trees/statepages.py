"""The state tree as it is stored: pages by path (docs/formats.md, State pages).

Rule 1: a page holds the nodes of three levels of the tree and the tops of the next three. It exists exactly
where its top is an inner node, and at the root of a tree that is not empty.
Rule 2: a page's path is the bits of key that lead to it, padded with zero bits to whole bytes, then one byte, how many
bits. One place has one path. In the order of paths, pages of one part of the tree are near each other.
Rule 3: a page is 15 sizes and then 15 entries, top first and level by level: of 0 bytes where there is no
node, 32 (its hash) for an inner node, 64 (key, value hash) for a leaf. One content has one encoding, and
decoding refuses a shape that no set of keys has and a leaf that belongs elsewhere.
Rule 4: an update starts from the root that its caller trusts, and every page must have the top which the page
above it names: a lost or stale page is an error, never an empty tree.
Rule 5: an update touches no store. It returns the pages that changed, None where one is gone, so that a block
that is not final is an overlay.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise, product
from operator import itemgetter
from typing import Final, NoReturn, Protocol, TypeAlias

from ledger.encoding.digests import HASH_SIZE
from ledger.errors import LedgerError
from ledger.trees.statetree import (
    EMPTY,
    KEY_BITS,
    AbsenceProof,
    InclusionProof,
    OtherLeaf,
    inner_hash,
    leaf_hash,
)

PAGE_LEVELS: Final = 3
PAGE_SLOTS_COUNT: Final = 2 ** (PAGE_LEVELS + 1) - 1
# All shapes that there are, 3,967. One takes less than 1 KB.
SHAPES_CACHED_MAX: Final = 4_096
ROOT_PATH: Final = b"\x00"

# Slots are numbered from 1 at the top, the children of s being 2s and 2s + 1; from here on they are tops of
# other pages. Slot 0 stays empty.
_BOTTOM: Final = 2**PAGE_LEVELS
_INNER_SIZE: Final = HASH_SIZE
_LEAF_SIZE: Final = 2 * HASH_SIZE
# The last page on the way to a key has fewer levels.
_LAST_DEPTH: Final = (KEY_BITS - 1) // PAGE_LEVELS * PAGE_LEVELS
_LAST_SLOTS_COUNT: Final = 2 ** (KEY_BITS - _LAST_DEPTH + 1) - 1
_NO_NODES: Final = [b""] * (PAGE_SLOTS_COUNT + 1)
_SIZES: Final = frozenset({0, _INNER_SIZE, _LEAF_SIZE})
# The sizes that a node and its two children may have: below an inner node there are two keys or more, below all else
# there is nothing.
_FAMILIES: Final = frozenset(
    (node, left, right)
    for node, left, right in product(_SIZES, repeat=3)
    if (node == _INNER_SIZE and (_INNER_SIZE in (left, right) or left == right == _LEAF_SIZE))
    or (node != _INNER_SIZE and left == right == 0)
)
# Where an entry may stand in a page, by start and size. Shapes share these, and their numbers.
_CUTS: Final = {
    (start, size): slice(start, start + size)
    for start in range(PAGE_SLOTS_COUNT, PAGE_SLOTS_COUNT * (_LEAF_SIZE + 1) + 1, _INNER_SIZE)
    for size in _SIZES
}
_NOTHING: Final = slice(PAGE_SLOTS_COUNT, PAGE_SLOTS_COUNT)

Change: TypeAlias = tuple[bytes, bytes | None]
"""A key with its new value hash, or None to delete it."""


class StatePageError(LedgerError):
    """A stored page that is not what the tree needs there. `keys` are the leaves under suspicion, if any."""

    code = "state-page"

    def __init__(
        self, *, path: bytes, expected: str, found: str, detail: str = "", keys: tuple[bytes, ...] = ()
    ) -> None:
        super().__init__(where=f"state page {path.hex()}{detail}", expected=expected, found=found)
        self.path = path
        self.keys = keys


class PageSource(Protocol):
    """Where pages are loaded from. It may cache them; it must not serve two versions at once."""

    def load_page(self, path: bytes) -> bytes | None:
        """Return the page at a path, or None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Update:
    """What a batch of changes leads to: the root, and the pages that differ from before (None: gone)."""

    root: bytes
    pages: dict[bytes, bytes | None]


def page_path(key: bytes, depth: int) -> bytes:
    """Return the path of the page whose top is at `depth`, a multiple of 3, on the way to `key`."""
    size, spare = depth + 7 >> 3, -depth & 7
    if spare:
        return key[: size - 1] + bytes((key[size - 1] >> spare << spare, depth))
    return key[:size] + bytes((depth,))


def path_at(place: int, depth: int) -> bytes:
    """Return the path of the page whose top is at `depth`, the one with the number `place` from the left."""
    return (place << (-depth & 7)).to_bytes(depth + 7 >> 3, "big") + bytes((depth,))


def top_of(page: bytes) -> bytes:
    """Return the first bytes of a page's top, all of it where it is an inner node. Nothing is judged here."""
    return page[PAGE_SLOTS_COUNT : PAGE_SLOTS_COUNT + HASH_SIZE]


def pages_over(entries: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return all pages over the entries of one level, which is a multiple of a page's levels deep.

    An entry is the hash of an inner node, a lone leaf, or nothing.
    """
    pages: dict[bytes, bytes] = {}
    depth = len(entries).bit_length() - 1
    assert len(entries) == 2**depth and depth % PAGE_LEVELS == 0, "a whole level between two pages"
    while depth:
        depth -= PAGE_LEVELS
        above: list[bytes] = []
        for place in range(2**depth):
            below = entries[_BOTTOM * place : _BOTTOM * (place + 1)]
            if not any(below):
                # Most places of a small state: nothing has no page, and is nothing above.
                above.append(b"")
                continue
            page = [b""] * _BOTTOM + list(below)
            for slot in reversed(range(1, _BOTTOM)):
                _settle(page, slot)
            if _needs_page(page[1], is_root=depth == 0):
                pages[path_at(place, depth)] = _encode(page)
            above.append(page[1])
        entries = above
    return pages


def update(source: PageSource, root: bytes, changes: Sequence[Change]) -> Update:
    """Return root and changed pages after `changes`, whose keys strictly increase. Raises StatePageError.

    Deleting a key that is not there, and setting the value that is there, change nothing.
    """
    keys = [key for key, _ in changes]
    assert all(low < high for low, high in pairwise(keys)), "changes are not in order"
    assert all(len(key) == HASH_SIZE for key in keys), "keys are hashes"
    assert all(value is None or len(value) == HASH_SIZE for _, value in changes), "values are hashes"
    batch = _Batch(source, keys, [value for _, value in changes])
    return Update(batch.apply(root), batch.pages)


def prove(source: PageSource, root: bytes, key: bytes) -> InclusionProof | AbsenceProof:
    """Return why `key` has its value, or has none, under `root`. Raises StatePageError.

    What the pages say is not hashed again here: the verifier does that.
    """
    siblings: list[bytes] = []
    entry = _top(source, root)
    while len(entry) == _INNER_SIZE:
        depth = len(siblings)
        path = page_path(key, depth)
        data, starts = _load(source, path, entry)
        slot = 1
        while slot < _BOTTOM:
            slot = 2 * slot + (key[depth >> 3] >> (~depth & 7) & 1)
            depth += 1
            siblings.append(_entry_hash(data[starts[slot ^ 1] : starts[(slot ^ 1) + 1]]))
            entry = data[starts[slot] : starts[slot + 1]]
            if len(entry) != _INNER_SIZE:
                break
    bitmap, kept = _bitmap(siblings)
    if not entry:
        return AbsenceProof(len(siblings), bitmap, kept, None)
    if entry[:HASH_SIZE] == key:
        return InclusionProof(len(siblings), bitmap, kept)
    return AbsenceProof(len(siblings), bitmap, kept, OtherLeaf(entry[:HASH_SIZE], entry[HASH_SIZE:]))


def walk(source: PageSource, root: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield every key with its value hash, in order of the keys, checking every hash on the way.

    Raises StatePageError at the first page that does not lead to `root`; what was yielded before it does.
    """
    top = _top(source, root)
    if top:
        yield from _walk_page(source, ROOT_PATH, top)


def check_pages(source: PageSource, root: bytes, stored_paths: Iterable[bytes]) -> int:
    """Check all pages against `root`, and that nothing else is stored. Returns how many keys there are.

    Raises StatePageError, naming the first bad page in the order of the keys.
    """
    recording = _Recording(source, set())
    count = sum(1 for _ in walk(recording, root))
    strays = sorted(path for path in stored_paths if path not in recording.paths)
    if strays:
        raise StatePageError(
            path=strays[0], expected="no page: the tree has no inner node there", found="a page"
        )
    return count


@dataclass(frozen=True, slots=True)
class _Recording:
    source: PageSource
    paths: set[bytes]

    def load_page(self, path: bytes) -> bytes | None:
        self.paths.add(path)
        return self.source.load_page(path)


class _Batch:
    """One update: sorted changes, recursively split at the bits of their keys."""

    __slots__ = ("_keys", "_source", "_values", "pages")

    def __init__(self, source: PageSource, keys: list[bytes], values: list[bytes | None]) -> None:
        self._source = source
        self._keys = keys
        self._values = values
        self.pages: dict[bytes, bytes | None] = {}

    def apply(self, root: bytes) -> bytes:
        """Return the new root."""
        top = _top(self._source, root)
        if not self._keys:
            return root
        if len(top) == _INNER_SIZE:
            return _entry_hash(self._update_page(0, top, 0, len(self._keys)))
        entries = _NO_NODES.copy()
        entries[1] = top
        self._update_node(entries, 1, 0, 0, len(self._keys))
        return _entry_hash(self._keep(ROOT_PATH, entries, self._source.load_page(ROOT_PATH)))

    def _update_page(self, depth: int, top: bytes, first: int, end: int) -> bytes:
        path = page_path(self._keys[first], depth)
        data, _ = _load(self._source, path, top)
        entries = list(_shape(data[:PAGE_SLOTS_COUNT]).cut(data))
        self._update_node(entries, 1, depth, first, end)
        return self._keep(path, entries, data)

    def _keep(self, path: bytes, entries: list[bytes], before: bytes | None) -> bytes:
        """Note the page if it changed, and return its top."""
        top = entries[1]
        after = _encode(entries) if _needs_page(top, is_root=path == ROOT_PATH) else None
        if after != before:
            self.pages[path] = after
        return top

    def _update_node(self, entries: list[bytes], slot: int, depth: int, first: int, end: int) -> None:
        entry = entries[slot]
        if len(entry) != _INNER_SIZE:
            leaves = self._merged(entry, first, end)
            self._build(entries, slot, depth, leaves, 0, len(leaves))
            return
        if slot >= _BOTTOM:
            entries[slot] = self._update_page(depth, entry, first, end)
            return
        middle = _split(self._keys, depth, first, end)
        if first < middle:
            self._update_node(entries, 2 * slot, depth + 1, first, middle)
        if middle < end:
            self._update_node(entries, 2 * slot + 1, depth + 1, middle, end)
        _settle(entries, slot)

    def _merged(self, entry: bytes, first: int, end: int) -> list[bytes]:
        """The leaves that the changes leave where `entry`, a leaf or nothing, was."""
        keys = self._keys
        leaves = [
            keys[index] + value for index in range(first, end) if (value := self._values[index]) is not None
        ]
        if entry:
            key = entry[:HASH_SIZE]
            index = bisect_left(keys, key, first, end)
            if index == end or keys[index] != key:
                insort(leaves, entry)
        return leaves

    def _build(
        self, entries: list[bytes], slot: int, depth: int, leaves: list[bytes], first: int, end: int
    ) -> None:
        if end - first < 2:
            entries[slot] = leaves[first] if first < end else b""
            return
        if slot >= _BOTTOM:
            below = _NO_NODES.copy()
            self._build(below, 1, depth, leaves, first, end)
            entries[slot] = self._keep(page_path(leaves[first], depth), below, None)
            return
        middle = _split(leaves, depth, first, end)
        self._build(entries, 2 * slot, depth + 1, leaves, first, middle)
        self._build(entries, 2 * slot + 1, depth + 1, leaves, middle, end)
        entries[slot] = _joined(entries[2 * slot], entries[2 * slot + 1])


def _needs_page(top: bytes, *, is_root: bool) -> bool:
    """Rule 1: a leaf or nothing needs no page, except at the root."""
    return len(top) == _INNER_SIZE or (is_root and bool(top))


def _settle(entries: list[bytes], slot: int) -> None:
    """Put what follows from its two children into a slot."""
    left, right = entries[2 * slot], entries[2 * slot + 1]
    if (not left or not right) and len(left or right) != _INNER_SIZE:
        # What is left is one leaf or nothing, so it moves up to its shortest unique prefix.
        entries[2 * slot] = entries[2 * slot + 1] = b""
        entries[slot] = left or right
    else:
        entries[slot] = _joined(left, right)


def _split(keys: list[bytes], depth: int, first: int, end: int) -> int:
    """The index of the first of the sorted keys whose bit at `depth` is 1; they share the bits above."""
    at, mask = depth >> 3, 0x80 >> (depth & 7)
    if keys[first][at] & mask:
        return first
    if not keys[end - 1][at] & mask:
        return end
    while end - first > 1:
        middle = (first + end) >> 1
        if keys[middle][at] & mask:
            end = middle
        else:
            first = middle
    return end


def _entry_hash(entry: bytes) -> bytes:
    if len(entry) == _INNER_SIZE:
        return entry
    return leaf_hash(entry[:HASH_SIZE], entry[HASH_SIZE:]) if entry else EMPTY


def _joined(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over two entries. Asked for so often that a call less counts."""
    return inner_hash(
        left if len(left) == _INNER_SIZE else _entry_hash(left),
        right if len(right) == _INNER_SIZE else _entry_hash(right),
    )


def _bitmap(siblings: list[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    """Bitmap and siblings of a proof, from all the siblings on the way down."""
    bits = 0
    for sibling in siblings:
        bits = bits << 1 | (sibling != EMPTY)
    size = (len(siblings) + 7) // 8
    kept = tuple(sibling for sibling in reversed(siblings) if sibling != EMPTY)
    return (bits << (8 * size - len(siblings))).to_bytes(size, "big"), kept


def _top(source: PageSource, root: bytes) -> bytes:
    """The tree's topmost entry."""
    data = source.load_page(ROOT_PATH)
    if data is None:
        if root != EMPTY:
            raise StatePageError(path=ROOT_PATH, expected=f"the top {root.hex()}", found="no page")
        return b""
    starts = _decode(ROOT_PATH, data)
    top = data[starts[1] : starts[2]]
    if _entry_hash(top) != root:
        raise StatePageError(path=ROOT_PATH, expected=f"the top {root.hex()}", found=_entry_hash(top).hex())
    return top


def _load(source: PageSource, path: bytes, top: bytes) -> tuple[bytes, tuple[int, ...]]:
    """A page whose top is the inner node `top`, with the starts of its entries."""
    data = source.load_page(path)
    if data is None:
        raise StatePageError(path=path, expected=f"the top {top.hex()}", found="no page")
    starts = _decode(path, data)
    if data[starts[1] : starts[2]] != top:
        raise StatePageError(
            path=path, expected=f"the top {top.hex()}", found=data[starts[1] : starts[2]].hex()
        )  # Rule 4
    return data, starts


def _encode(entries: list[bytes]) -> bytes:
    return bytes(map(len, entries[1:])) + b"".join(entries)


def _decode(path: bytes, data: bytes) -> tuple[int, ...]:
    """The starts of the entries of a page, by slot, and the end of the last. Raises StatePageError."""
    sizes = data[:PAGE_SLOTS_COUNT]
    try:
        shape = _shape(sizes)
    except ValueError as error:
        raise StatePageError(
            path=path, expected="sizes that a set of keys leads to", found=f"{error}"
        ) from None
    starts, leaf_slots = shape.starts, shape.leaf_slots
    if len(data) != starts[-1]:
        raise StatePageError(path=path, expected=f"{starts[-1]} bytes", found=f"{len(data)} bytes")
    if sizes[0] == _LEAF_SIZE and path != ROOT_PATH:
        raise StatePageError(path=path, expected="an inner node on top", found="a leaf")
    top_depth = path[-1]
    if top_depth == _LAST_DEPTH and any(sizes[_LAST_SLOTS_COUNT:]):
        raise StatePageError(path=path, expected="nothing below the last bit of a key", found="a node")
    if not leaf_slots:
        return starts
    prefix = int.from_bytes(path[:-1], "big") >> (-top_depth & 7)
    for slot in leaf_slots:
        level = slot.bit_length() - 1
        key = data[starts[slot] : starts[slot] + HASH_SIZE]
        place = prefix << level | (slot ^ 1 << level)
        if int.from_bytes(key, "big") >> (KEY_BITS - top_depth - level) != place:
            raise StatePageError(
                path=path,
                expected=f"a key that starts with these {top_depth + level} bits",
                found=key.hex(),
                keys=(key,),
            )
    return starts


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the sizes of a page say: the starts of its entries, which are leaves, and how to cut it into entries."""

    starts: tuple[int, ...]
    leaf_slots: tuple[int, ...]
    cut: Callable[[bytes], tuple[bytes, ...]]


@lru_cache(maxsize=SHAPES_CACHED_MAX)
def _shape(sizes: bytes) -> _Shape:
    """Raises ValueError, which says what is wrong with sizes that no tree has."""
    if len(sizes) != PAGE_SLOTS_COUNT:
        raise ValueError(f"{len(sizes)} sizes")
    if not sizes[0]:
        raise ValueError("no top")
    if not (
        _SIZES.issuperset(sizes) and _FAMILIES.issuperset(zip(sizes, sizes[1::2], sizes[2::2], strict=False))
    ):
        raise ValueError(_what_is_wrong(sizes))
    cuts = [
        _NOTHING,
        *map(_CUTS.__getitem__, zip(accumulate(sizes, initial=PAGE_SLOTS_COUNT), sizes, strict=False)),
    ]
    starts = tuple([cut.start for cut in cuts])
    leaf_slots = tuple([slot for slot, size in enumerate(sizes, 1) if size == _LEAF_SIZE])
    return _Shape((*starts, cuts[-1].stop), leaf_slots, itemgetter(*cuts))


def _what_is_wrong(sizes: bytes) -> str:
    for slot, size in enumerate(sizes, 1):
        if size not in _SIZES:
            return f"the size {size} in slot {slot}"
        if slot < _BOTTOM:
            left, right = sizes[2 * slot - 1 : 2 * slot + 1]
            if size != _INNER_SIZE and (left or right):
                return f"nodes below slot {slot}, which is no inner node"
            if (size, left, right) not in _FAMILIES:
                return f"fewer than two keys below slot {slot}, an inner node"
    raise AssertionError("sizes that no tree has")


def _walk_page(source: PageSource, path: bytes, top: bytes) -> Iterator[tuple[bytes, bytes]]:
    data, starts = _load(source, path, top)
    pending = [1]
    while pending:
        slot = pending.pop()
        entry = data[starts[slot] : starts[slot + 1]]
        if len(entry) == _LEAF_SIZE:
            yield entry[:HASH_SIZE], entry[HASH_SIZE:]
        elif entry and slot >= _BOTTOM:
            yield from _walk_page(source, _path_below(path, slot), entry)
        elif entry:
            left = data[starts[2 * slot] : starts[2 * slot + 1]]
            right = data[starts[2 * slot + 1] : starts[2 * slot + 2]]
            if _joined(left, right) != entry:
                _refuse_node(path, slot, entry, left, right)
            pending += (2 * slot + 1, 2 * slot)


def _path_below(path: bytes, slot: int) -> bytes:
    """The path of the page whose top is in a bottom slot of the page at `path`."""
    place = int.from_bytes(path[:-1], "big") >> (-path[-1] & 7) << PAGE_LEVELS | slot - _BOTTOM
    return path_at(place, path[-1] + PAGE_LEVELS)


def _refuse_node(path: bytes, slot: int, entry: bytes, left: bytes, right: bytes) -> NoReturn:
    keys = tuple(child[:HASH_SIZE] for child in (left, right) if len(child) == _LEAF_SIZE)
    suspects = "".join(f", leaf {key.hex()}" for key in keys)
    found = _joined(left, right)
    raise StatePageError(
        path=path,
        expected=f"children with the hash {entry.hex()}",
        found=found.hex(),
        detail=f", slot {slot}{suspects}",
        keys=keys,
    )
