"""The top pages: the state tree's pages above level 12, which every block changes and nobody writes.

Rule 1: they follow from what is stored. Below each of the places on level 12 lies a page, whose top says all, a lone
leaf, or nothing; so they are made anew where a store is opened.
Rule 2: they belong to one version. A commit makes another, and leaves readers of the older one theirs.
Rule 3: nothing is judged here. Top pages of damaged records do not lead to the state root, and whoever reads under
that root says so.
"""

from collections.abc import Iterator, Mapping, Set
from contextlib import closing
from typing import Final

from ledger.encoding.digests import HASH_SIZE
from ledger.trees.statepages import pages_over, path_at, top_of
from ledger.trees.statetree import value_hash
from node.storage.database import Database, prefix_end
from node.storage.tables import damaged, read_record, reading

TOP_PAGES_LEVELS: Final = 12
"""A multiple of a page's levels. One more page would make it eight times as large, and so the time to make it."""
SKIPPED_MAX: Final = 8
"""How many records of one place are read over before another search is the shorter way to the next place."""


def is_top_page(path: bytes) -> bool:
    """Say whether the page at a path belongs to the top pages."""
    return path[-1] < TOP_PAGES_LEVELS


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
    tops = [b""] * 2**TOP_PAGES_LEVELS
    with_page = set()
    for place, _, _ in _firsts(database, pages, frozenset()):
        name = pages + path_at(place, TOP_PAGES_LEVELS)
        tops[place] = _top(name, read_record(database, name))
        with_page.add(place)
    for place, key, value in _firsts(database, values, with_page):
        tops[place] = key + value_hash(value)
    return pages_over(tops)


def _firsts(database: Database, table: bytes, passed_over: Set[int]) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each place below which a table has a record, with the first one's key and value.

    Of places to be passed over nothing is read but what shows that they are there.
    """
    place = 0
    while place < 2**TOP_PAGES_LEVELS:
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
    return int.from_bytes(key[:2], "big") >> 16 - TOP_PAGES_LEVELS


def _first_key(place: int) -> bytes:
    return (place << 16 - TOP_PAGES_LEVELS).to_bytes(2, "big")


def _top(name: bytes, page: bytes | None) -> bytes:
    top = b"" if page is None else top_of(page)
    if len(top) != HASH_SIZE:
        raise damaged(name, "nothing" if page is None else f"a page of {len(page)} bytes")
    return top
