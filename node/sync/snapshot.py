"""Catching up by a snapshot (docs/sync.md, Offers, Chunks, Install).

Rule 1: an offer counts once its header is verified by a trust path from the tip's own epoch.
Rule 2: what most validators offer is taken; a description that f + 1 of them state is true. Any other costs at most one
download, since nothing is installed that does not give the header's state root.
Rule 3: chunks are checked under the root as they arrive, and written down: a restart asks only for the rest.
Rule 4: one step installs one chunk. The switch to the new state is one batch.
Rule 5: chunks are asked of those who stated the description, and where none of them can be asked, of everybody. While
nothing comes, offers are asked for again: a holder that appears is found at once.
"""

import logging
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ledger.chain.snapshots import Description, SnapshotError, check_chunk, decode_chunk
from ledger.errors import LedgerError
from ledger.rules.blocks import EncodedHeader
from ledger.rules.state import require_validators
from ledger.trees.merkle import Frontier
from ledger.trust import Pins, verify_header
from node.chain.chain import Chain
from node.measurements import NOT_MEASURED, Measurements
from node.messages import BUSY, CHUNK, NotHeld, SnapshotChunk, SnapshotOffer, WantChunk, WantSnapshot
from node.storage.snapshotstore import Entry, SnapshotStore
from node.storage.stagingstate import StagingState
from node.sync.host import SyncHost, SyncTuning
from node.sync.sources import Sources

logger = logging.getLogger(__name__)

LITTLE_CHUNKS_MAX: Final = 256
"""What is thrown away soon, at most 64 MiB of leaves, where nobody who can be asked holds the rest."""
UNCONFIRMED_CHUNKS_MAX: Final = 4_096
"""What is fetched, at most 1 GiB of leaves, on the word of fewer than f + 1 validators."""


class Phase(Enum):
    """Where a node that takes a snapshot stands."""

    NONE = "none"
    OFFERS = "offers"
    CHUNKS = "chunks"
    INSTALL = "install"


@dataclass(slots=True)
class _Fetch:
    """A snapshot that was chosen: who stated it, and what is here."""

    offer: SnapshotOffer
    entry: Entry
    stated_by: set[str]
    here: set[int]
    moved_ms: int
    lacked_by: set[str] = field(default_factory=set)
    """Who said lately that it does not hold it."""
    offers_due_ms: int = 0
    late: set[tuple[str, int]] = field(default_factory=set)
    """Of whom which chunks were asked in vain. What comes all the same is taken."""
    asked: dict[int, tuple[str, int]] = field(default_factory=dict)
    next_index: int = 0

    @property
    def height(self) -> int:
        return self.offer.description.encoded_header().header.height

    @property
    def is_complete(self) -> bool:
        return len(self.here) == self.offer.description.chunks_count


@dataclass(slots=True)
class _Install:
    """An installation, chunk by chunk."""

    staging: StagingState
    index: int = 0
    tree: Frontier = field(default_factory=Frontier)


class SnapshotFetch:
    """One snapshot at a time, from the question for offers to the switch."""

    def __init__(
        self,
        chain: Chain,
        snapshot_store: SnapshotStore,
        pins: Pins,
        sources: Sources,
        host: SyncHost,
        tuning: SyncTuning,
        measurements: Measurements = NOT_MEASURED,
    ) -> None:
        self._chain = chain
        self._snapshot_store = snapshot_store
        self._pins = pins
        self._sources = sources
        self._host = host
        self._tuning = tuning
        self._measurements = measurements
        self.phase = Phase.NONE
        self._began_ms = 0
        self._due_ms = 0
        # From whom an offer is awaited, and from which epoch its path is to lead.
        self._awaited: dict[str, int] = {}
        self._offers: dict[str, SnapshotOffer] = {}
        self._forged: set[Description] = set()
        self._avoided_until_ms: dict[Description, int] = {}
        self._fetch: _Fetch | None = None
        self._install: _Install | None = None

    # -- offers -----------------------------------------------------------------------------------------

    def begin(self, now_ms: int) -> None:
        """Ask everybody for their newest snapshot."""
        self.phase = Phase.OFFERS
        self._began_ms = now_ms
        self._due_ms = now_ms + self._tuning.offers_ms
        self._offers = {}
        self._awaited = {}
        for peer in self._sources.peers(now_ms):
            self.ask_offer(peer)
        logger.info("sync.offers_asked peers=%s", ",".join(sorted(self._awaited)))

    def ask_offer(self, peer: str) -> None:
        """Ask one more peer, that came later."""
        if self.phase is Phase.NONE:
            return
        question = self._question()
        if self._host.send(peer, question):
            self._awaited[peer] = question.from_epoch

    def receive_offer(self, peer: str, offer: SnapshotOffer) -> None:
        """Take an offer. Raises LedgerError where it does not verify."""
        asked_epoch = self._awaited.pop(peer, None)
        if asked_epoch is None:
            return
        epoch = self._question().from_epoch
        if offer.trust_path.from_epoch < epoch:
            # It may answer what was asked before a handover here, and is asked once about the present epoch.
            if asked_epoch < epoch:
                self.ask_offer(peer)
            return
        encoded_header = self._verify(offer)
        if offer.description in self._forged or encoded_header.header.height <= self._question().above:
            return
        self._offers[peer] = offer
        if self._fetch is not None and self._fetch.offer.description == offer.description:
            self._fetch.stated_by.add(peer)

    def not_held(self, peer: str, message: NotHeld) -> None:
        """Take note that a peer has no snapshot to offer, lacks a chunk, or is busy."""
        self._awaited.pop(peer, None)
        fetch = self._fetch
        if message.what not in (CHUNK, BUSY) or fetch is None:
            return
        asked = fetch.asked.get(message.index)
        if asked is not None and asked[0] == peer and message.height == fetch.height:
            self._settle(fetch, message.index)
            if message.what == CHUNK:
                fetch.stated_by.discard(peer)
                fetch.lacked_by.add(peer)

    def forget(self, peer: str) -> None:
        """Take note that a peer is gone."""
        self._awaited.pop(peer, None)
        self._offers.pop(peer, None)
        if self._fetch is not None:
            self._fetch.stated_by.discard(peer)
            self._fetch.late = {each for each in self._fetch.late if each[0] != peer}
            for index, (asked, _) in list(self._fetch.asked.items()):
                if asked == peer:
                    self._settle(self._fetch, index)

    def _question(self) -> WantSnapshot:
        tip = self._chain.tip
        epoch = require_validators(tip.state).epoch
        return WantSnapshot(epoch, tip.header.height + self._tuning.snapshot_distance)

    def _verify(self, offer: SnapshotOffer) -> EncodedHeader:
        encoded_header = offer.description.check()
        if encoded_header.header.is_seal and offer.certificate is None:
            raise SnapshotError(
                where="snapshot offer", expected="a seal's own certificate", found="a history"
            )
        tip = self._chain.tip
        current = require_validators(tip.state)
        if offer.trust_path.from_epoch != current.epoch:
            raise SnapshotError(
                where="snapshot offer", expected=f"a path from epoch {current.epoch}", found="another"
            )
        pins = self._pins.beyond(tip.encoded_header, current.epoch, current.current)
        verify_header(pins, offer.description.header, offer.certificate, offer.trust_path, at_ms=0)
        return encoded_header

    def _choose(self, now_ms: int) -> None:
        """Take the description that most validators state, the one already begun among equals."""
        stated: dict[Description, set[str]] = {}
        for peer, offer in self._offers.items():
            if now_ms < self._avoided_until_ms.get(offer.description, 0):
                continue
            stated.setdefault(offer.description, set()).add(peer)
        stated = {
            description: peers
            for description, peers in stated.items()
            if description.chunks_count <= UNCONFIRMED_CHUNKS_MAX or self._is_confirmed(peers)
        }
        if not stated:
            self.phase = Phase.NONE
            logger.info("sync.no_snapshot")
            return
        known = None if self._snapshot_store.fetching is None else self._snapshot_store.fetching.description
        current = require_validators(self._chain.tip.state).current

        def weight(description: Description) -> tuple[bool, bool, int, int]:
            count = sum(current.index_of(peer) is not None for peer in stated[description])
            return (
                self._is_confirmed(stated[description]),
                description == known,
                description.encoded_header().header.height,
                count,
            )

        chosen = max(stated, key=weight)
        self._fetch_from(chosen, stated[chosen], now_ms)

    def _is_confirmed(self, peers: set[str]) -> bool:
        """Say whether an honest validator is among those who state a description, so that it is true."""
        current = require_validators(self._chain.tip.state).current
        return sum(current.index_of(peer) is not None for peer in peers) > current.faulty_max

    def _fetch_from(self, description: Description, peers: set[str], now_ms: int) -> None:
        entry = self._snapshot_store.fetching
        if entry is None or entry.description != description:
            entry = self._snapshot_store.begin_fetch(description)
        here = {index for index in self._snapshot_store.fetched(entry) if index < description.chunks_count}
        offer = self._offers[min(peers)]
        self._fetch = _Fetch(offer, entry, peers, here, now_ms)
        self.phase = Phase.CHUNKS
        logger.info(
            "sync.snapshot_chosen height=%d chunks=%d here=%d peers=%s",
            self._fetch.height,
            description.chunks_count,
            len(here),
            ",".join(sorted(peers)),
        )

    # -- chunks -----------------------------------------------------------------------------------------

    def receive_chunk(self, peer: str, message: SnapshotChunk, now_ms: int) -> bool:
        """Take a chunk; say whether it was asked for. Raises LedgerError where it is another one."""
        fetch = self._fetch
        if fetch is None or fetch.offer.description.chunks_root != message.chunks_root:
            return False
        asked = fetch.asked.get(message.index)
        if (peer, message.index) in fetch.late and message.index not in fetch.here:
            fetch.late.discard((peer, message.index))
        elif asked is None or asked[0] != peer:
            return False
        if asked is not None:
            self._settle(fetch, message.index)
        self._sources.note_given(peer)
        check_chunk(fetch.offer.description, message.index, message.chunk, message.siblings)
        self._snapshot_store.put_fetched(fetch.entry, message.index, message.chunk)
        fetch.here.add(message.index)
        fetch.moved_ms = now_ms
        return True

    def expire(self, now_ms: int) -> None:
        """Give up questions that nobody answered."""
        fetch = self._fetch
        if fetch is None:
            return
        for index, (peer, due_ms) in list(fetch.asked.items()):
            if now_ms >= due_ms:
                self._settle(fetch, index)
                fetch.late.add((peer, index))
                self._sources.stalled(peer, now_ms, f"chunk {index} of the snapshot at {fetch.height}")

    def _ask_chunks(self, now_ms: int, fetch: _Fetch) -> None:
        count = fetch.offer.description.chunks_count
        holders = self._holders(now_ms, fetch)
        for _ in range(count):
            index = self._next_missing(fetch, count)
            if index is None:
                return
            peer = self._sources.pick_among(now_ms, holders)
            question = WantChunk(fetch.height, fetch.offer.description.chunks_root, index)
            if peer is None or not self._host.send(peer, question):
                return
            due_ms = self._sources.note_asked(peer, now_ms, self._tuning.reply_ms)
            fetch.asked[index] = (peer, due_ms)

    def _holders(self, now_ms: int, fetch: _Fetch) -> set[str]:
        """Return who may hold the chunks: who stated the description, and where none of them can be asked, anybody."""
        if self._sources.can_be_asked(now_ms, fetch.stated_by):
            return fetch.stated_by
        return set(self._sources.peers(now_ms)) - fetch.lacked_by

    def _look_further(self, now_ms: int, fetch: _Fetch) -> None:
        """Ask again for offers where nothing comes: somebody may hold the snapshot by now, or another one."""
        if now_ms - fetch.moved_ms < self._tuning.offers_again_ms or now_ms < fetch.offers_due_ms:
            return
        fetch.offers_due_ms = now_ms + self._tuning.offers_again_ms
        fetch.lacked_by.clear()
        for peer in self._sources.peers(now_ms):
            if peer not in fetch.stated_by:
                self.ask_offer(peer)

    def _reason_to_abandon(self, now_ms: int, fetch: _Fetch) -> str | None:
        idle_ms = now_ms - fetch.moved_ms
        if idle_ms > self._tuning.abandon_ms:
            return "no chunk came"
        others = {
            peer
            for peer, offer in self._offers.items()
            if offer.description != fetch.offer.description
            and now_ms >= self._avoided_until_ms.get(offer.description, 0)
        }
        if not fetch.stated_by and not (set(self._sources.peers(now_ms)) - fetch.lacked_by):
            return "nobody offers it"
        is_little = len(fetch.here) <= LITTLE_CHUNKS_MAX
        if idle_ms > self._tuning.switch_ms and is_little and self._sources.can_be_asked(now_ms, others):
            return "others offer another one"
        return None

    @staticmethod
    def _next_missing(fetch: _Fetch, count: int) -> int | None:
        while fetch.next_index < count and fetch.next_index in fetch.here:
            fetch.next_index += 1
        for index in range(fetch.next_index, count):
            if index not in fetch.here and index not in fetch.asked:
                return index
        return None

    def _settle(self, fetch: _Fetch, index: int) -> None:
        self._sources.note_answered(fetch.asked.pop(index)[0])

    # -- the way ----------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether `step` has work that waits for nobody."""
        return self.phase is Phase.INSTALL

    @property
    def waits_for(self) -> list[str]:
        """Who is asked now."""
        if self._fetch is None:
            return sorted(self._awaited)
        return sorted({peer for peer, _ in self._fetch.asked.values()})

    @property
    def counts(self) -> tuple[int, int, int]:
        """The height of the snapshot that is taken, its chunks that are here or installed, and all of them."""
        if self._fetch is None:
            return 0, 0, 0
        total = self._fetch.offer.description.chunks_count
        done = len(self._fetch.here) if self._install is None else self._install.index
        return self._fetch.height, done, total

    def step(self, now_ms: int) -> None:
        """Do what is due. Raises SnapshotStoreError or StoreError where the disk fails."""
        if self.phase is Phase.OFFERS and (now_ms >= self._due_ms or not self._awaited):
            self._choose(now_ms)
        if self.phase is Phase.CHUNKS:
            self._step_chunks(now_ms)
        elif self.phase is Phase.INSTALL:
            self._step_install(now_ms)

    def _step_chunks(self, now_ms: int) -> None:
        fetch = self._fetch
        assert fetch is not None, "chunks are those of a snapshot that was chosen"
        if fetch.is_complete:
            self._install = _Install(self._chain.store.staging())
            self.phase = Phase.INSTALL
            return
        reason = self._reason_to_abandon(now_ms, fetch)
        if reason is not None:
            logger.warning("sync.snapshot_abandoned height=%d reason=%s", fetch.height, reason)
            self._avoided_until_ms = {fetch.offer.description: now_ms + self._tuning.avoid_ms}
            self._restart(now_ms)
            return
        self._look_further(now_ms, fetch)
        self._ask_chunks(now_ms, fetch)

    def _step_install(self, now_ms: int) -> None:
        fetch, install = self._fetch, self._install
        assert fetch is not None and install is not None, "what is installed was fetched"
        if install.index == 0 and install.staging.clear():
            return
        if install.index < fetch.offer.description.chunks_count:
            self._install_chunk(now_ms, fetch, install)
        else:
            self._switch(now_ms, fetch, install)

    def _install_chunk(self, now_ms: int, fetch: _Fetch, install: _Install) -> None:
        chunk = self._snapshot_store.load_raw(fetch.entry, install.index)
        if chunk is None:
            self._fetch_again(fetch, install.index)
            return
        try:
            leaves = decode_chunk(chunk)
            install.staging.add(leaves)
        except LedgerError as error:
            self._was_forged(now_ms, fetch, error)
            return
        install.tree, nodes = install.tree.append(chunk)
        self._snapshot_store.put_nodes(fetch.entry.place, nodes)
        install.index += 1

    def _switch(self, now_ms: int, fetch: _Fetch, install: _Install) -> None:
        description = fetch.offer.description
        if self._chain.tip.header.height >= fetch.height:
            logger.info("sync.snapshot_overtaken height=%d", fetch.height)
            self.abandon()
            return
        if install.tree.root() != description.chunks_root:
            logger.warning("sync.snapshot_store_damaged height=%d", fetch.height)
            self._restart(now_ms)
            return
        try:
            install.staging.rebuilding.check(description)
        except LedgerError as error:
            self._was_forged(now_ms, fetch, error)
            return
        epoch = description.encoded_header().header.epoch
        handovers = [
            each
            for each in fetch.offer.trust_path.handovers
            if EncodedHeader.decode(each.seal.header).header.epoch < epoch
        ]
        self._chain.store.install(install.staging, description, fetch.offer.certificate, handovers)
        self._snapshot_store.finish(fetch.entry)
        logger.info("sync.snapshot_installed height=%d", fetch.height)
        self._measurements.sync_snapshot((now_ms - self._began_ms) / 1000)
        self._stop()
        self._host.installed()

    def abandon(self) -> None:
        """Stop; what was fetched stays on the snapshot store."""
        self._stop()

    def _fetch_again(self, fetch: _Fetch, index: int) -> None:
        logger.warning("sync.chunk_damaged height=%d index=%d", fetch.height, index)
        self._snapshot_store.drop_chunk(fetch.entry, index)
        fetch.here.discard(index)
        fetch.next_index = 0
        self._install = None
        self.phase = Phase.CHUNKS

    def _was_forged(self, now_ms: int, fetch: _Fetch, error: LedgerError) -> None:
        self._forged.add(fetch.offer.description)
        for peer in sorted(fetch.stated_by):
            self._sources.lied(peer, now_ms, error)
        self._restart(now_ms)

    def _restart(self, now_ms: int) -> None:
        self._snapshot_store.drop_fetch()
        self._stop()
        self.begin(now_ms)

    def _stop(self) -> None:
        if self._fetch is not None:
            for index in list(self._fetch.asked):
                self._settle(self._fetch, index)
        self._fetch = self._install = None
        self.phase = Phase.NONE
