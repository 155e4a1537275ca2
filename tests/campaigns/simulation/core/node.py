"""An honest node: the real core with the driver's contract, on a fake disk and a fake application.

Rule 1: effects are performed in order; none after a `Persist` before its sync, which takes time. Events that
arrive meanwhile wait.
Rule 2: it may crash before any effect; what was not synced is lost.
"""

from collections import deque
from collections.abc import Sequence
from typing import assert_never

from ledger.rules.certificates import ValidatorSet
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.effects import (
    AmnesiaEnded,
    Broadcast,
    Build,
    CancelCertify,
    Certify,
    Effect,
    Finalized,
    Misbehaviour,
    Persist,
    Punish,
    RequestBlock,
    Send,
    Trace,
    Verify,
)
from node.consensus.events import (
    BlockAvailable,
    Built,
    Certified,
    Event,
    PeerDown,
    PeerUp,
    Received,
    Started,
    TimerFired,
    Verified,
    WorkChanged,
)
from node.consensus.journal import Amnesia, JournalRecord
from node.consensus.messages import BlockProposalMessage, Message, decode_message, encode_message
from node.consensus.rounds import FinalizedTip
from tests.campaigns.simulation.core.chain import GENESIS_HASH, Block, Committed, branch, first_missing
from tests.campaigns.simulation.core.disk import Disk
from tests.campaigns.simulation.core.network import Network
from tests.campaigns.simulation.core.oracle import Oracle
from tests.campaigns.simulation.core.packets import (
    BlockPacket,
    ConsensusPacket,
    ItemPacket,
    Packet,
    WantBlockPacket,
)
from tests.campaigns.simulation.core.signatures import make_sign, verify
from tests.campaigns.simulation.core.world import World

EPOCH = 3
FETCH_PERIOD_MS = 150
BAN_MS = 1_500


class SimulatedNode:
    """One validator process, or several in turn."""

    def __init__(
        self,
        world: World,
        network: Network,
        oracle: Oracle,
        validators: ValidatorSet,
        index: int,
        config: Config,
    ) -> None:
        self.world = world
        self.network = network
        self.oracle = oracle
        self.validators = validators
        self.index = index
        self.config = config
        self.disk = Disk()
        self.incarnation = 0
        self.is_up = False
        self.crash_permille = 0
        self.sync_max_ms = 3
        self.core: Simplex | None = None
        self.pool: set[int] = set()
        self.paused_until_ms = 0
        self._reset()
        network.endpoints[index] = self

    def _reset(self) -> None:
        self._inbox: deque[Event] = deque()
        self._pending: deque[Effect] = deque()
        self._is_busy = False
        self._timer_ms: int | None = None
        self._verifying: dict[int, Verify] = {}
        self._certifying: dict[int, Certify] = {}
        self._certified_hash: bytes | None = None
        self._final: Finalized | None = None
        self._fetching: dict[bytes, int] = {}
        self._is_fetching = False
        self._peers: set[int] = set()
        self._had_work = False

    # Life and death.

    def start(self, *, log_is_damaged: bool = False) -> None:
        """Start the process on what the disk holds."""
        assert not self.is_up, "one process at a time"
        self._reset()
        self.incarnation += 1
        self.is_up = True
        self.paused_until_ms = 0
        journal: list[JournalRecord] = self.disk.journal()
        if log_is_damaged:
            journal.append(Amnesia(EPOCH, None))
        self.core = self.make_core(journal)
        self.oracle.note_start(self.index, self.core)
        self.handle(Started())
        self._signal_work()
        self.network.refresh()

    def make_core(self, journal: Sequence[JournalRecord]) -> Simplex:
        """Build the core as a composition root would."""
        return Simplex(
            self.config,
            self.validators,
            self.index,
            EPOCH,
            journal,
            self._stored_tip(),
            make_sign(self.index),
            verify,
        )

    def crash(self) -> None:
        """Stop at once."""
        self.is_up = False
        self.incarnation += 1
        self.core = None
        self.disk.crash()
        self.network.drop_links(self.index)

    def pause(self, duration_ms: int) -> None:
        """Stand still without losing anything."""
        self.paused_until_ms = self.world.now_ms + duration_ms
        self.world.after(duration_ms, self._pump)

    def _stored_tip(self) -> FinalizedTip:
        if not self.disk.chain:
            return FinalizedTip(0, GENESIS_HASH, None)
        last = self.disk.chain[-1]
        assert last.certificate is not None, "commits end with a certificate"
        return FinalizedTip(last.certificate.subject.view, last.block.hash, last.certificate)

    # The driver.

    def handle(self, event: Event) -> None:
        """Hand an event to the core, when its turn comes."""
        if self.is_up:
            self._inbox.append(event)
            self._pump()

    def _pump(self) -> None:
        while self.is_up and not self._is_busy and self.world.now_ms >= self.paused_until_ms:
            if self._pending:
                self._perform_next()
            elif self._inbox:
                event = self._inbox.popleft()
                assert self.core is not None, "an up node has a core"
                effects = self.core.handle(event, self.world.now_ms)
                self.oracle.note_step(self.index, self.core, event, effects)
                self._pending.extend(effects)
            else:
                self._arm()
                return

    def _perform_next(self) -> None:
        if self.world.chance(self.crash_permille):
            if not isinstance(self._pending[0], Persist):
                self.world.sometimes["crash between effects"] += 1
            self.crash()
            return
        effect = self._pending.popleft()
        if isinstance(effect, Persist):
            self.disk.write(effect.records)
            self._is_busy = True
            incarnation = self.incarnation
            self.world.after(
                self.world.random.randint(0, self.sync_max_ms), lambda: self._synced(incarnation)
            )
        else:
            self.perform(effect)

    def _synced(self, incarnation: int) -> None:
        if incarnation != self.incarnation:
            self.world.sometimes["crash during sync"] += 1
            return
        if self.world.chance(self.crash_permille * 5):
            self.world.sometimes["crash between persist and send"] += 1
            self.disk.sync()
            self.crash()
            return
        self.disk.sync()
        self._is_busy = False
        self._pump()

    def _arm(self) -> None:
        assert self.core is not None, "an up node has a core"
        deadline_ms = self.core.next_deadline_ms()
        if deadline_ms is None or deadline_ms == self._timer_ms:
            return
        self._timer_ms = deadline_ms
        incarnation = self.incarnation

        def fire() -> None:
            if incarnation == self.incarnation and self._timer_ms == deadline_ms:
                self._timer_ms = None
                self.handle(TimerFired())

        self.world.at(max(deadline_ms, self.world.now_ms), fire)

    def perform(self, effect: Effect) -> None:
        """Perform one effect that is not a `Persist`."""
        match effect:
            case Broadcast(message):
                self.broadcast(message)
            case Send(peer, message):
                self.transmit(peer, message, self._block_for(message))
            case Build():
                self._later(Built(effect.view, self._build(effect)), 0, 8)
            case Verify():
                self._verifying = {effect.view: effect}
                self._try_jobs()
            case Certify():
                self._certifying[effect.view] = effect
                self._try_jobs()
            case CancelCertify(view):
                self._certifying.pop(view, None)
            case RequestBlock(block_hash, peers):
                self._fetch(block_hash, peers)
            case Finalized():
                self._final = effect
                self._try_jobs()
            case Misbehaviour(first, second):
                self.oracle.note_evidence(self.index, first, second)
            case Punish(peer, reason):
                self.oracle.note_punishment(self.index, peer, reason)
                self._ban(peer)
            case AmnesiaEnded():
                self.world.sometimes["amnesia ended"] += 1
            case Trace(name, fields):
                self.oracle.note_trace(self.index, name, dict(fields))
            case Persist():
                raise AssertionError("Persist stands first and is performed by the loop")
            case _:
                assert_never(effect)

    # Sending.

    def broadcast(self, message: Message) -> None:
        """Send to all."""
        block = self._block_for(message)
        for peer in range(len(self.validators)):
            if peer != self.index:
                self.transmit(peer, message, block)

    def transmit(self, peer: int, message: Message, block: Block | None) -> None:
        """Send one message, under the eyes of the oracle. It travels as bytes."""
        self.oracle.note_sent(self.index, message, self.disk)
        self.network.send(self.index, peer, ConsensusPacket(message, block))

    def _block_for(self, message: Message) -> Block | None:
        if not isinstance(message, BlockProposalMessage):
            return None
        block_hash = message.vote.subject.block_hash
        assert block_hash is not None, "a proposal names a block"
        return self.disk.blocks[block_hash]

    def _ban(self, peer: int) -> None:
        self.handle(PeerDown(peer))
        incarnation = self.incarnation

        def pardon() -> None:
            if incarnation == self.incarnation and peer in self._peers:
                self.handle(PeerUp(peer))

        self.world.after(BAN_MS, pardon)

    # Receiving.

    def link_changed(self, peer: int, *, is_up: bool) -> None:
        """Pass on what the network says."""
        if is_up:
            self._peers.add(peer)
            self.handle(PeerUp(peer))
            for item in sorted(self.pool):
                self.network.send(self.index, peer, ItemPacket(item))
        else:
            self._peers.discard(peer)
            self.handle(PeerDown(peer))

    def deliver(self, sender: int, packet: Packet) -> None:
        """Take a packet."""
        match packet:
            case ConsensusPacket(message, block):
                message = decode_message(encode_message(message))
                if isinstance(message, BlockProposalMessage):
                    if block is None or block.hash != message.vote.subject.block_hash:
                        return  # The driver's check: a proposal comes with its block.
                    self._keep_block(block)
                self.handle(Received(sender, message))
            case WantBlockPacket(block_hash):
                found = self.disk.blocks.get(block_hash)
                if found is not None:
                    self.network.send(self.index, sender, BlockPacket(found))
            case BlockPacket(block):
                if block.hash in self._fetching:
                    self._keep_block(block)
                    self.handle(BlockAvailable(block.hash))
            case ItemPacket(item):
                self.take_item(item)
            case _:
                assert_never(packet)

    def submit(self, item: int, *, is_gossiped: bool) -> None:
        """Take a client's item and pass it on."""
        self.take_item(item)
        if is_gossiped:
            for peer in range(len(self.validators)):
                if peer != self.index:
                    self.network.send(self.index, peer, ItemPacket(item))

    def take_item(self, item: int) -> None:
        """Put an item into the pool."""
        self.pool.add(item)
        self._signal_work()

    # The application.

    @property
    def final_hash(self) -> bytes:
        """The last final block."""
        return self.disk.chain[-1].block.hash if self.disk.chain else GENESIS_HASH

    def final_items(self) -> list[int]:
        """All items in final blocks, in order."""
        return [item for committed in self.disk.chain for item in committed.block.items]

    def _items_on(self, parent_hash: bytes) -> list[Block] | None:
        return branch(self.disk.blocks, parent_hash, self.final_hash)

    def _build(self, effect: Build) -> bytes | None:
        above = self._items_on(effect.parent_hash)
        if above is None:
            return None
        used = {item for block in above for item in block.items}
        used.update(self.final_items())
        items = tuple(item for item in sorted(self.pool) if item not in used)[:5]
        block = Block(effect.view, len(self.disk.chain) + len(above) + 1, effect.parent_hash, items)
        self.disk.blocks[block.hash] = block
        return block.hash

    def _is_valid(self, block: Block, parent_hash: bytes) -> bool:
        above = self._items_on(block.parent_hash)
        if block.parent_hash != parent_hash or above is None:
            return False
        used = {item for ancestor in above for item in ancestor.items} | set(self.final_items())
        height = len(self.disk.chain) + len(above) + 1
        return (
            block.height == height
            and not used & set(block.items)
            and len(set(block.items)) == len(block.items)
        )

    def _try_jobs(self) -> None:
        """Answer what can be answered, fetch what is missing for the rest."""
        self._try_commit()
        for view, verify_job in sorted(self._verifying.items()):
            block = self.disk.blocks.get(verify_job.block_hash)
            if block is None or self._items_on(verify_job.parent_hash) is None:
                self._fetch_ancestry(verify_job.block_hash)
                self._fetch_ancestry(verify_job.parent_hash)
                continue
            del self._verifying[view]
            is_valid = block.view == view and self._is_valid(block, verify_job.parent_hash)
            self._later(Verified(view, verify_job.block_hash, is_valid), 1, 15)
        for view, certify_job in sorted(self._certifying.items()):
            block = self.disk.blocks.get(certify_job.block_hash)
            if block is None or self._items_on(block.parent_hash) is None:
                self._fetch_ancestry(certify_job.block_hash)
                continue
            del self._certifying[view]
            assert self._is_valid(block, block.parent_hash), "a quorum notarized what does not execute here"
            self._later(Certified(view, certify_job.block_hash, True), 1, 15)
            self._certified_hash = certify_job.block_hash
            self._signal_work()

    def _try_commit(self) -> None:
        if self._final is None:
            return
        certificate = self._final.certificate
        block_hash = certificate.subject.block_hash
        assert block_hash is not None, "a finalization names a block"
        blocks = branch(self.disk.blocks, block_hash, self.final_hash)
        if blocks is None:
            self._fetch_ancestry(block_hash)
            return
        self._final = None
        for block in blocks:
            own = certificate if block.hash == block_hash else None
            self.disk.chain.append(Committed(block, own))
            self.oracle.note_committed(self.index, len(self.disk.chain), block)
        if self.world.chance(20):
            self._compact()
        self._signal_work()

    def _compact(self) -> None:
        if not self._pending and not self._is_busy and self.core is not None and not self.disk.unsynced:
            self.disk.replace_log(self.core.journal_snapshot())
            self.world.sometimes["log compacted"] += 1

    def _signal_work(self) -> None:
        used = set(self.final_items())
        tip_hash = self._certified_hash
        above = None if tip_hash is None else self._items_on(tip_hash)
        for block in above or []:
            used.update(block.items)
        has_work = bool(self.pool - used)
        if has_work != self._had_work:
            self._had_work = has_work
            self.handle(WorkChanged(has_work))

    def _later(self, event: Event, delay_min_ms: int, delay_max_ms: int) -> None:
        incarnation = self.incarnation

        def answer() -> None:
            if incarnation == self.incarnation:
                self.handle(event)

        self.world.after(self.world.random.randint(delay_min_ms, delay_max_ms), answer)

    # Fetching blocks.

    def _keep_block(self, block: Block) -> None:
        self.disk.blocks[block.hash] = block
        self._fetching.pop(block.hash, None)
        self._try_jobs()

    def _fetch_ancestry(self, block_hash: bytes) -> None:
        missing = first_missing(self.disk.blocks, block_hash, self.final_hash)
        if missing is not None:
            self._fetch(missing, ())

    def _fetch(self, block_hash: bytes, peers: tuple[int, ...]) -> None:
        if block_hash in self.disk.blocks:
            self.handle(BlockAvailable(block_hash))
            return
        self._fetching.setdefault(block_hash, 0)
        for peer in peers:
            self.network.send(self.index, peer, WantBlockPacket(block_hash))
        if not self._is_fetching:
            self._is_fetching = True
            self._fetch_round(self.incarnation)

    def _fetch_round(self, incarnation: int) -> None:
        if incarnation != self.incarnation:
            return
        self._is_fetching = bool(self._fetching)
        if not self._fetching:
            return
        for block_hash in sorted(self._fetching):
            peer = self.world.random.randrange(len(self.validators))
            if peer != self.index:
                self.network.send(self.index, peer, WantBlockPacket(block_hash))
        self.world.after(FETCH_PERIOD_MS, lambda: self._fetch_round(incarnation))
