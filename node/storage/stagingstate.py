"""The staging state: where a snapshot is installed, beside the state in use (docs/sync.md, Install).

Rule 1: nothing that is written here is seen until the store switches to it, in one batch.
Rule 2: what lies here is leftovers, of an installation that a crash ended or of a state that was switched from. It is
removed in slices before anything else is written.
Rule 3: leaves are added in order; their pages are made here, never taken from anybody.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

from ledger.chain.snapshots import Rebuilding
from ledger.trees.statetree import EMPTY
from node.storage.database import Database, WriteBatch, prefix_end
from node.storage.tables import read_record, reading
from node.storage.toppages import grown_top_pages, is_top_page, stored_pages

CLEARED_MAX: Final = 512
PAGES_CACHED_MAX: Final = 4_096


class StagingState:
    """The state tables that are not in use."""

    def __init__(
        self, database: Database, tables: tuple[bytes, bytes], write: Callable[[WriteBatch], None]
    ) -> None:
        self._database = database
        self._values, self._pages = tables
        self._write = write
        self._is_clear = False
        self._cached: dict[bytes, bytes | None] = {}
        self.top_pages: Mapping[bytes, bytes] = {}
        self.rebuilding = Rebuilding(EMPTY)

    def clear(self) -> bool:
        """Remove a slice of what lies here; say whether there is more. Begins anew. Raises StoreError."""
        self.rebuilding = Rebuilding(EMPTY)
        self.top_pages, self._cached = {}, {}
        batch = WriteBatch()
        for table in (self._values, self._pages):
            with reading(table), closing(self._database.iterate(table, prefix_end(table))) as found:
                for key, _ in found:
                    batch.delete(key)
                    if len(batch.changes) == CLEARED_MAX:
                        break
        self._is_clear = not batch.changes
        if batch.changes:
            self._write(batch)
        return not self._is_clear

    def find_value(self, key: bytes) -> bytes | None:
        """Return a leaf's value."""
        return read_record(self._database, self._values + key)

    def load_page(self, path: bytes) -> bytes | None:
        """Return a page of the state tree."""
        if is_top_page(path):
            return self.top_pages.get(path)
        if path not in self._cached:
            if len(self._cached) >= PAGES_CACHED_MAX:
                self._cached.clear()
            self._cached[path] = read_record(self._database, self._pages + path)
        return self._cached[path]

    def add(self, leaves: list[tuple[bytes, bytes]]) -> None:
        """Write the next leaves and their pages. Raises LedgerError for leaves out of order, or StoreError."""
        assert self._is_clear, "the staging state is cleared first"
        grown = self.rebuilding.add(self, leaves)
        batch = WriteBatch()
        for key, value in leaves:
            batch.put(self._values + key, value)
        for path, page in stored_pages(grown.pages).items():
            self._cached[path] = page
            if page is None:
                batch.delete(self._pages + path)
            else:
                batch.put(self._pages + path, page)
        self._write(batch)
        self.top_pages = grown_top_pages(self.top_pages, grown.pages)
