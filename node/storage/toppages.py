"""The top pages: the state tree's pages above level 12, which every block changes and nobody writes.

Rule 1: it follows from what is stored. Below each of the places on level 12 lies a page, whose top says all, a lone
leaf, or nothing; so it is made anew where a store is opened.
Rule 2: it belongs to one version. A commit makes another, and leaves readers of the older one theirs.
Rule 3: nothing is judged here. A top_pages of damaged records does not lead to the state root, and whoever reads under
that root says so.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing
from typing import Final

from ledger.encoding.digests import HASH_SIZE
from ledger.trees.statepages import PAGE_LEVELS, PAGE_SLOTS_COUNT, page_path
from ledger.trees.statetree import EMPTY, inner_hash, leaf_hash, value_hash
from node.storage.database import Database, prefix_end
from node.storage.tables import damaged, read_record, reading

TOP_LEVELS: Final = 12
"""A multiple of a page's levels. One more page would make it eight times as large, and so the time to make it."""
SKIPPED_MAX: Final = 8
"""How many records of one place are read over before another search is the shorter way to the next place."""

_BOTTOM: Final = 2**PAGE_LEVELS


def is_top_page(path: bytes) -> bool:
    """Say whether the page at a path belongs to the top pages."""
    return path[-1] < TOP_LEVELS


def stored_pages(pages: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
    """Return those of a block's changed pages that are written."""
    return {path: page for path, page in pages.items() if not is_top_page(path)}


def grown_top_pages(
    top_pages: Mapping[bytes, bytes], pages: Mapping[bytes, bytes | None]
) -> dict[bytes, bytes]:
    """Return the top pages after a block that changed these pages, which need not be the top pages's (None: gone)."""
    changed = {path: page for path, page in pages.items() if is_top_page(path)}
    return {path: page for path, page in {**top_pages, **changed}.items() if page is not None}


def read_top_pages(database: Database, values: bytes, pages: bytes) -> dict[bytes, bytes]:
    """Return the top pages of a stored state, by path: at most 585 pages. `values` and `pages` are its tables.

    Reads a few records for each of 4,096 places, whatever the size of the state. Raises StoreError.
    """
    tops = [b""] * 2**TOP_LEVELS
    with_page = set()
    for place, _, _ in _firsts(database, pages, frozenset()):
        name = pages + _path(place, TOP_LEVELS)
        tops[place] = _top(name, read_record(database, name))
        with_page.add(place)
    for place, key, value in _firsts(database, values, with_page):
        tops[place] = key + value_hash(value)
    return top_pages_over(tops)


def top_pages_over(tops: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the pages over the entries of a level, which is a multiple of a page's levels deep."""
    top_pages: dict[bytes, bytes] = {}
    depth = len(tops).bit_length() - 1
    while depth:
        depth -= PAGE_LEVELS
        above: list[bytes] = []
        for place in range(2**depth):
            entries = _page_over(tops[_BOTTOM * place : _BOTTOM * (place + 1)])
            top = entries[0]
            if len(top) == HASH_SIZE or (depth == 0 and top):
                top_pages[_path(place, depth)] = bytes(map(len, entries)) + b"".join(entries)
            above.append(top)
        tops = above
    return top_pages


def _page_over(bottom: Sequence[bytes]) -> list[bytes]:
    """The entries of the page over its lowest ones, top first (docs/formats.md, State pages)."""
    entries = [b""] * _BOTTOM + list(bottom)
    for slot in reversed(range(1, _BOTTOM)):
        left, right = entries[2 * slot], entries[2 * slot + 1]
        if (not left or not right) and len(left or right) != HASH_SIZE:
            # One leaf or nothing: it stands at its shortest unique prefix.
            entries[slot], entries[2 * slot], entries[2 * slot + 1] = left or right, b"", b""
        else:
            entries[slot] = inner_hash(_hash_of(left), _hash_of(right))
    return entries[1:]


def _firsts(database: Database, table: bytes, passed_over: Set[int]) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each place below which a table has a record, with the first one's key and value.

    Of places to be passed over nothing is read but what shows that they are there.
    """
    place = 0
    while place < 2**TOP_LEVELS:
        if place in passed_over:
            place += 1
            continue
        start = table + _first_key(place)
        with reading(start), closing(database.iterate(start, prefix_end(table))) as found:
            skipped = 0
            for record, value in found:
                key = record[len(table) :]
                at = _place_of(key)
                if at in passed_over and at >= place:
                    place = at + 1
                    break
                if at >= place:
                    yield at, key, value
                    place, skipped = at + 1, 0
                elif skipped < SKIPPED_MAX:
                    skipped += 1
                else:
                    break
            else:
                return


def _place_of(key: bytes) -> int:
    return int.from_bytes(key[:2], "big") >> 16 - TOP_LEVELS


def _first_key(place: int) -> bytes:
    return (place << 16 - TOP_LEVELS).to_bytes(2, "big")


def _path(place: int, depth: int) -> bytes:
    return page_path((place << 16 - depth).to_bytes(2, "big"), depth)


def _top(name: bytes, page: bytes | None) -> bytes:
    top = b"" if page is None else page[PAGE_SLOTS_COUNT : PAGE_SLOTS_COUNT + HASH_SIZE]
    if len(top) != HASH_SIZE:
        raise damaged(name, "nothing" if page is None else f"a page of {len(page)} bytes")
    return top


def _hash_of(entry: bytes) -> bytes:
    if len(entry) == HASH_SIZE:
        return entry
    return leaf_hash(entry[:HASH_SIZE], entry[HASH_SIZE:]) if entry else EMPTY
