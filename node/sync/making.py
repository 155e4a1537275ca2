"""Making snapshots: the state after a block, read in slices while the chain goes on (docs/sync.md, Snapshots).

Rule 1: making begins before the batch that makes the block final. The iteration reads the version from before it, and
the block's changes are put on top: so the state after one block inside a batch of many is had as well.
Rule 2: one `step` makes one chunk and returns; the node's loop does other work in between.
Rule 3: one snapshot is made at a time. One that comes due meanwhile is left out, and said so.
"""

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.chain.overlays import Executed
from ledger.chain.snapshots import (
    CHUNK_LEAVES_SIZE,
    SNAPSHOT_INTERVAL,
    Description,
    encode_chunks,
    is_snapshot_height,
)
from ledger.trees.merkle import Frontier
from node.storage.snapshotstore import Entry, SnapshotStore, SnapshotStoreError
from node.storage.store import Store

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Making:
    """One snapshot in the making."""

    executed: Executed
    history: Frontier
    place: int
    base: Generator[tuple[bytes, bytes], None, None]
    chunks: Iterator[bytes]
    tree: Frontier = field(default_factory=Frontier)
    leaves_count: int = 0
    leaves_size: int = 0


class SnapshotMaker:
    """Makes the snapshots of one node."""

    def __init__(
        self,
        store: Store,
        snapshot_store: SnapshotStore,
        *,
        interval: int = SNAPSHOT_INTERVAL,
        chunk_size: int = CHUNK_LEAVES_SIZE,
    ) -> None:
        self._store = store
        self._snapshot_store = snapshot_store
        self._interval = interval
        self._chunk_size = chunk_size
        self._making: _Making | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a `step` has something to do."""
        return self._making is not None

    def before_commit(self, path: Sequence[Executed]) -> None:
        """Begin the snapshot of a block in this path, if there is one due. The store still has what is below."""
        due = [index for index, each in enumerate(path) if self._is_due(each)]
        if not due:
            return
        height = path[due[-1]].block.header.height
        if self._making is not None:
            logger.warning("snapshot.left_out height=%d reason=%s", height, "another one is being made")
            return
        self._begin(path[: due[-1] + 1])

    def step(self) -> bool:
        """Make one chunk; say whether there is more to do. Raises StoreError where the state is damaged."""
        making = self._making
        if making is None:
            return False
        try:
            chunk = next(making.chunks, None)
            if chunk is None:
                self._finish(making)
            else:
                self._put(making, chunk)
        except SnapshotStoreError as error:
            logger.warning("snapshot.failed height=%d error=%s", making.executed.block.header.height, error)
            self._snapshot_store.give_up(making.place)
            self._end()
        except BaseException:
            self._end()
            raise
        return self.is_busy

    def close(self) -> None:
        """Give up what is being made."""
        self._end()

    def _is_due(self, executed: Executed) -> bool:
        height = executed.block.header.height
        return is_snapshot_height(height, self._interval) and self._snapshot_store.find(height) is None

    def _begin(self, path: Sequence[Executed]) -> None:
        changes: dict[bytes, bytes] = {}
        history = self._store.tip().history
        for index, each in enumerate(path):
            changes.update(each.overlay.values)
            history = each.history if index + 1 < len(path) else history
        base = self._store.values()
        first = next(base, None)  # From here on the iteration keeps to its version.
        making = _Making(path[-1], history, self._snapshot_store.take_place(), base, iter(()))
        leaves = _counted(_merged(first, base, changes), making)
        making.chunks = encode_chunks(leaves, size=self._chunk_size)
        self._making = making
        logger.info("snapshot.begun height=%d", path[-1].block.header.height)

    def _put(self, making: _Making, chunk: bytes) -> None:
        index = making.tree.size
        making.tree, nodes = making.tree.append(chunk)
        self._snapshot_store.put_chunk(making.place, index, chunk, nodes)

    def _finish(self, making: _Making) -> None:
        description = Description(
            header=making.executed.block.encoded_header.encoded,
            history=making.history,
            leaves_count=making.leaves_count,
            leaves_size=making.leaves_size,
            chunks_count=making.tree.size,
            chunks_root=making.tree.root(),
        )
        description.check()
        self._snapshot_store.finish(Entry(making.place, description))
        self._end()
        logger.info(
            "snapshot.made height=%d chunks=%d leaves=%d bytes=%d",
            making.executed.block.header.height,
            making.tree.size,
            making.leaves_count,
            making.leaves_size,
        )

    def _end(self) -> None:
        if self._making is not None:
            self._making.base.close()
            self._making = None


def _merged(
    first: tuple[bytes, bytes] | None, base: Iterator[tuple[bytes, bytes]], changes: Mapping[bytes, bytes]
) -> Iterator[bytes]:
    """The values of a stored state with changes on top, in order of their keys."""
    changed = iter(sorted(changes.items()))
    stored, change = first, next(changed, None)
    while stored is not None or change is not None:
        if change is None or (stored is not None and stored[0] < change[0]):
            assert stored is not None, "one of the two is there"
            yield stored[1]
            stored = next(base, None)
            continue
        if stored is not None and stored[0] == change[0]:
            stored = next(base, None)
        yield change[1]
        change = next(changed, None)


def _counted(leaves: Iterator[bytes], making: _Making) -> Iterator[bytes]:
    for leaf in leaves:
        making.leaves_count += 1
        making.leaves_size += len(leaf)
        yield leaf
