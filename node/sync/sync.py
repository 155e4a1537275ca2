"""Sync: from a node that is behind to one that is not, whoever of its peers lies or stalls (docs/sync.md).

Rule 1: messages and times in, messages out; nothing here waits, and no call does more than one slice of work.
Rule 2: blocks where the distance is small, a snapshot where somebody claims that it is large and proves one.
Rule 3: it never hangs silently: while behind, progress is logged and shown, with who is asked and how long nothing
came.
"""

import logging
from typing import Final, assert_never

from ledger.errors import LedgerError
from ledger.trust import Pins
from node.chain.chain import Chain
from node.measurements import NOT_MEASURED, Measurements
from node.messages import (
    BLOCKS,
    BUSY,
    FinalBlocks,
    NotHeld,
    SnapshotChunk,
    SnapshotOffer,
    SyncAnswer,
    WantFinal,
)
from node.progress import SyncProgress
from node.storage.snapshotstore import SnapshotStore, SnapshotStoreError
from node.sync.blocks import BlockFetch
from node.sync.host import SyncHost, SyncTuning
from node.sync.prevalidation import Checker
from node.sync.snapshot import Phase, SnapshotFetch
from node.sync.sources import Sources

logger = logging.getLogger(__name__)

PROBE_HEIGHT: Final = 2**53 - 1


class Sync:
    """Catches one node up."""

    def __init__(
        self,
        chain: Chain,
        snapshot_store: SnapshotStore,
        pins: Pins,
        host: SyncHost,
        tuning: SyncTuning,
        checker: Checker | None = None,
        measurements: Measurements = NOT_MEASURED,
    ) -> None:
        self._chain = chain
        self._host = host
        self._tuning = tuning
        self._sources = Sources(host.disconnect)
        self._blocks = BlockFetch(chain, pins, self._sources, host, self._tuning, checker, measurements)
        self._snapshot = SnapshotFetch(
            chain, snapshot_store, pins, self._sources, host, self._tuning, measurements
        )
        self._offers_due_ms = 0
        self._offers_asked_ms = 0
        self._asked_ms = 0
        self._probe_due_ms = 0
        self._moved_ms: int | None = None
        self._seen: tuple[object, ...] = ()
        self._reported_ms = 0

    # -- what comes in ----------------------------------------------------------------------------------

    def peer_up(self, peer: str) -> None:
        """Take note of a connection."""
        self._sources.add(peer)
        self._snapshot.ask_offer(peer)

    def peer_down(self, peer: str) -> None:
        """Take note of a lost connection."""
        self._blocks.forget(peer)
        self._snapshot.forget(peer)
        self._sources.remove(peer)

    def probe(self, peer: str) -> None:
        """Ask a peer how far it is: nobody holds this height, and the answer says so."""
        self._host.send(peer, WantFinal(PROBE_HEIGHT, 1))

    def note_ahead(self, peer: str) -> None:
        """Take note that a peer speaks of what can only come after our tip."""
        self._sources.note_ahead(peer, self._chain.tip.header.height + 1)

    def receive(self, peer: str, message: SyncAnswer, now_ms: int) -> None:
        """Take an answer. What breaks a rule costs its sender the connection, and us nothing."""
        try:
            self._receive(peer, message, now_ms)
        except LedgerError as error:
            self._sources.lied(peer, now_ms, error)
        except SnapshotStoreError as error:
            self._give_up_snapshot(error)

    def _receive(self, peer: str, message: SyncAnswer, now_ms: int) -> None:
        match message:
            case FinalBlocks():
                if self._blocks.receive(peer, message):
                    self._sources.note_given(peer)
                    self._sources.note_claim(peer, tip_height=message.tip_height)
            case NotHeld():
                if message.height == PROBE_HEIGHT:
                    self._sources.note_claim(
                        peer, tip_height=message.tip_height, from_height=message.from_height
                    )
                else:
                    self._not_held(peer, message, now_ms)
            case SnapshotOffer():
                self._snapshot.receive_offer(peer, message)
            case SnapshotChunk():
                self._snapshot.receive_chunk(peer, message, now_ms)
            case _:
                assert_never(message)

    def _not_held(self, peer: str, message: NotHeld, now_ms: int) -> None:
        if message.what == BUSY:
            self._sources.pause(peer, now_ms)
        if message.what in (BLOCKS, BUSY):
            self._blocks.not_held(peer, message, now_ms)
        if message.what != BLOCKS:
            self._snapshot.not_held(peer, message)

    # -- what is due ------------------------------------------------------------------------------------

    @property
    def has_slice(self) -> bool:
        """Whether `step` has work that waits for nobody: call it again soon."""
        return self._snapshot.is_ready or (self._snapshot.phase is Phase.NONE and self._blocks.is_ready)

    @property
    def is_installing(self) -> bool:
        """Whether the staging state is in use."""
        return self._snapshot.phase is Phase.INSTALL

    def is_active(self, now_ms: int) -> bool:
        """Say whether this node catches up."""
        return self.has_slice or self.is_behind(now_ms)

    def is_behind(self, now_ms: int) -> bool:
        """Say whether there is something to catch up with, or a snapshot is under way."""
        return (
            self._host.is_behind()
            or self._snapshot.phase is not Phase.NONE
            or self._sources.highest_claim(now_ms) > self._chain.tip.header.height
        )

    def step(self, now_ms: int) -> None:
        """Do one slice of what is due. Raises SnapshotStoreError, StoreError, or what stops the node."""
        self._blocks.expire(now_ms)
        self._snapshot.expire(now_ms)
        if not self.is_active(now_ms):
            self._moved_ms = None
            return
        if self._snapshot.phase is Phase.NONE:
            self._step_blocks(now_ms)
        else:
            self._step_snapshot(now_ms)
        self._report(now_ms)

    def _step_snapshot(self, now_ms: int) -> None:
        try:
            self._snapshot.step(now_ms)
        except SnapshotStoreError as error:
            self._give_up_snapshot(error)

    def _give_up_snapshot(self, error: SnapshotStoreError) -> None:
        logger.error("sync.snapshot_given_up error=%s", error)
        self._snapshot.abandon()

    def _step_blocks(self, now_ms: int) -> None:
        tip_height = self._chain.tip.header.height
        target = max(self._sources.highest_claim(now_ms), self.known_height(), tip_height + 1)
        is_far = target - tip_height > self._tuning.snapshot_distance
        if is_far and self._are_offers_due(now_ms):
            self._offers_due_ms = now_ms + self._tuning.retry_offers_ms
            self._offers_asked_ms = now_ms
            self._blocks.clear()
            self._snapshot.begin(now_ms)
            return
        if self._blocks.is_ready:
            self._blocks.step(now_ms)
        if now_ms >= self._probe_due_ms:
            self._probe_due_ms = now_ms + self._tuning.probe_ms
            for peer in self._sources.peers(now_ms):
                self.probe(peer)
        if now_ms >= self._asked_ms or target > tip_height + 1:
            self._asked_ms = now_ms + self._tuning.ask_again_ms
            self._blocks.ask(now_ms, target)

    def _are_offers_due(self, now_ms: int) -> bool:
        """Say whether to ask for snapshots: from time to time, and soon where blocks do not come either."""
        stalled_ms = 0 if self._moved_ms is None else now_ms - self._moved_ms
        retry_ms = self._tuning.retry_offers_stalled_ms
        is_stalled = stalled_ms >= retry_ms and now_ms >= self._offers_asked_ms + retry_ms
        return now_ms >= self._offers_due_ms or is_stalled

    def known_height(self) -> int:
        """Return the greatest height that f + 1 peers claimed last, or where fewer claim any, the least of theirs.

        It is what they say, whether or not they answer questions at present.
        """
        return max(
            self._sources.known_height(self._chain.validators.faulty_max), self._chain.tip.header.height
        )

    # -- what is told -----------------------------------------------------------------------------------

    def progress(self, now_ms: int) -> SyncProgress | None:
        """Return how far catching up is; None where there is nothing to catch up."""
        if not self.is_active(now_ms):
            return None
        height = self._chain.tip.header.height
        target = max(self._sources.highest_claim(now_ms), self.known_height())
        stalled_ms = 0 if self._moved_ms is None else now_ms - self._moved_ms
        if self._snapshot.phase is Phase.NONE:
            peers = self._blocks.waits_for
            return SyncProgress("blocks", height, target, height, target, peers, stalled_ms)
        snapshot_height, done, total = self._snapshot.counts
        phase, peers = self._snapshot.phase.value, self._snapshot.waits_for
        return SyncProgress(phase, height, max(target, snapshot_height), done, total, peers, stalled_ms)

    def _report(self, now_ms: int) -> None:
        seen = (self._chain.tip.encoded_header.hash, self._snapshot.phase, self._snapshot.counts)
        if seen != self._seen or self._moved_ms is None:
            self._seen, self._moved_ms = seen, now_ms
        if now_ms < self._reported_ms:
            return
        progress = self.progress(now_ms)
        if progress is None:
            return
        self._reported_ms = now_ms + self._tuning.report_ms
        logger.info(
            "sync.progress phase=%s height=%d target=%d done=%d total=%d peers=%s stalled_ms=%d",
            progress.phase,
            progress.height,
            progress.target_height,
            progress.done,
            progress.total,
            ",".join(progress.peers) or "none",
            progress.stalled_ms,
        )
