"""What a node does in the background for its storage: make snapshots, and sweep away what is over.

Rule 1: one step is one slice of work, and slices are UPKEEP_PAUSE_MS apart, so that consensus has disk and loop.
Rule 2: the snapshot store can be had again: where its disk fails, snapshots are not made, and the node goes on.
"""

import logging
from collections.abc import Sequence
from typing import Final

from ledger.chain.overlays import Executed
from node.storage.snapshotstore import SnapshotStoreError
from node.storage.store import Store
from node.sync.host import SyncParts
from node.sync.making import SnapshotMaker

logger = logging.getLogger(__name__)

UPKEEP_PAUSE_MS: Final = 5


class Upkeep:
    """The background work of one node."""

    def __init__(self, store: Store, parts: SyncParts) -> None:
        self._store = store
        self._snapshot_store = parts.snapshot_store
        self._maker = SnapshotMaker(
            store, parts.snapshot_store, interval=parts.interval, chunk_size=parts.chunk_size
        )
        self._has_strays = True
        self._has_leftovers = True

    @property
    def is_busy(self) -> bool:
        """Whether a `step` has something to do."""
        return self._maker.is_busy or self._has_strays or self._has_leftovers

    def before_commit(self, path: Sequence[Executed]) -> None:
        """Begin a snapshot that is due with these blocks."""
        self._maker.before_commit(path)

    def step(self, *, is_installing: bool) -> None:
        """Do one slice. While a snapshot is installed, the staging state is not touched, and swept afterwards."""
        if is_installing:
            self._has_strays = self._has_leftovers = True
        if self._maker.is_busy:
            self._maker.step()
            self._has_strays = True
        elif self._has_leftovers and not is_installing:
            self._has_leftovers = self._store.staging().clear()
        elif self._has_strays:
            self._sweep()

    def close(self) -> None:
        """Give up what is being made."""
        self._maker.close()

    def _sweep(self) -> None:
        try:
            self._has_strays = self._snapshot_store.sweep()
        except SnapshotStoreError as error:
            logger.warning("snapshot_store.not_swept error=%s", error)
            self._has_strays = False
