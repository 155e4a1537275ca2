"""The driver: it performs the core's effects in order, on real disks and sockets (docs/architecture.md).

Rule 1: one asyncio loop owns core, chain and mempool. Every method here runs on it and never waits.
Rule 2: a `Persist` is synced before any later effect is performed. A failed write stops the node.
Rule 3: what takes part in blocks is asked of `BlockExecutor`, what waits for one is kept by `Intake`, what peers say is
heard by `Inbox`; each answers at once or later, as an event.
Rule 4: what is final is told by `Finality`. When an epoch's seal is final here, its engine ends and the next one starts
(docs/epochs.md).
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final, assert_never

from ledger.chain.overlays import Executed
from ledger.errors import LedgerError
from ledger.rules.certificates import QuorumCertificate, ValidatorSet
from ledger.rules.misbehaviour import misbehaviour_report
from ledger.rules.operations import ReportMisbehaviour
from ledger.rules.state import Misbehaviour as RecordedMisbehaviour
from ledger.rules.state import find, misbehaviour_key
from ledger.rules.transactions import Transaction
from node.chain.chain import Chain
from node.clock import Clock
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
    Certified,
    Event,
    PeerUp,
    Received,
    Started,
    TimerFired,
    WorkChanged,
)
from node.consensus.messages import (
    BlockProposalMessage,
    CertificateMessage,
    Message,
    encode_message,
)
from node.logform import Fields
from node.measurements import NOT_MEASURED, Measurements
from node.messages import (
    BlockProposal,
    Consensus,
    PeerMessage,
    WantBlock,
)
from node.replica.blockexecutor import BlockExecutor, stopped
from node.replica.blockrequests import ASK_AGAIN_MS, BlockRequests
from node.replica.corelog import NO_CORE_LOG, CoreRecorder
from node.replica.engine import EngineSource
from node.replica.finality import Finality
from node.replica.heard import Heard
from node.replica.inbox import Inbox
from node.replica.intake import Intake
from node.replica.mempool import Mempool
from node.replica.messenger import Messenger, Transport
from node.replica.ownkey import OwnKey
from node.replica.serving import Serving
from node.sync.host import SyncParts
from node.sync.server import SyncServer
from node.sync.sync import Sync
from node.sync.upkeep import UPKEEP_PAUSE_MS, Upkeep

logger = logging.getLogger(__name__)

MISBEHAVIOUR_MAX: Final = 64
LACK_TOLD_EVERY_MS: Final = 60_000
LACK_ASKED_EVERY_MS: Final = 2_000


class Driver:
    """One node's part in the network, from messages in to messages out."""

    def __init__(
        self,
        *,
        member: str,
        engines: EngineSource,
        chain: Chain,
        mempool: Mempool,
        transport: Transport,
        clock: Clock,
        on_final: Callable[[list[Executed]], None],
        on_refused: Callable[[Transaction, LedgerError], None],
        on_failure: Callable[[BaseException], None],
        sync: SyncParts,
        on_installed: Callable[[], None] = lambda: None,
        core_log: CoreRecorder = NO_CORE_LOG,
        measurements: Measurements = NOT_MEASURED,
    ) -> None:
        self._member = member
        self._engines = engines
        self._lack_told_ms = 0
        self._lack_asked_ms = 0
        self.engine = engines.open(chain.tip, chain.store.tip_certificate(), chain.holds)
        self.chain = chain
        self._clock = clock
        self._on_final = on_final
        self._on_failure = on_failure
        self._events: deque[Event] = deque()
        self._is_handling = False
        self._messenger = Messenger(transport)
        self._block_requests = BlockRequests(self._messenger.send, self._messenger.connected, clock)
        self._serving = Serving(self._messenger.send, chain, mempool)
        self.heard = Heard(self.engine.validators, clock)
        self.own_key = OwnKey()
        self.misbehaviour_count = 0
        """How often validators were seen to misbehave, once for each of them and view."""
        self._intake = Intake(
            chain=chain,
            mempool=mempool,
            clock=clock,
            broadcast=self._messenger.broadcast,
            note_offence=self._messenger.note_offence,
            on_refused=on_refused,
            measurements=measurements,
        )
        self._executor = BlockExecutor(
            member=member,
            engine=self.engine,
            chain=chain,
            intake=self._intake,
            block_requests=self._block_requests,
            clock=clock,
            report=self._events.append,
            measurements=measurements,
        )
        self._finality = Finality(
            engine=self.engine,
            chain=chain,
            executor=self._executor,
            intake=self._intake,
            on_final=self._note_final,
        )
        self._had_work = False
        self.misbehaviour: deque[tuple[str, ReportMisbehaviour]] = deque(maxlen=MISBEHAVIOUR_MAX)
        """Who misbehaved, and what shows it, until somebody takes it to report it."""
        self._on_installed = on_installed
        self._ticked_ms = clock.monotonic_ms()
        self.sync = Sync(chain, sync.snapshot_store, sync.pins, self, sync.tuning, sync.checker, measurements)
        self._sync_server = SyncServer(chain, sync.snapshot_store)
        self._inbox = Inbox(
            engine=self.engine,
            chain=chain,
            messenger=self._messenger,
            block_requests=self._block_requests,
            executor=self._executor,
            intake=self._intake,
            serving=self._serving,
            heard=self.heard,
            sync=self.sync,
            sync_server=self._sync_server,
            clock=clock,
            tell_core=self._raise_event,
            progress=self._progress,
        )
        self._upkeep = Upkeep(chain.store, sync)
        chain.before_commit = self._upkeep.before_commit
        self._core_log = core_log
        core_log.begin(self.core)
        self.own_key.begin(self.core, self.engine.me)

    @property
    def core(self) -> Simplex:
        """The core of the present epoch."""
        return self.engine.core

    @property
    def connected(self) -> frozenset[str]:
        """The registered peers that are connected."""
        return frozenset(self._messenger.connected)

    @property
    def mempool(self) -> Mempool:
        """The transactions that wait for a block."""
        return self._intake.mempool

    @property
    def _validators(self) -> ValidatorSet:
        return self.engine.validators

    # -- what comes in ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the core."""
        self._raise_event(Started())
        self._tell_work()

    def close(self) -> None:
        """End what goes on in the background."""
        self._upkeep.close()

    def peer_up(self, peer: str) -> None:
        """Take note of a connection."""
        self._inbox.peer_up(peer)

    def peer_down(self, peer: str) -> None:
        """Take note of a lost connection."""
        self._inbox.peer_down(peer)

    def receive(self, peer: str, data: bytes) -> None:
        """Take one message of a connected peer. Whatever is not one canonical message is an offence."""
        self._inbox.receive(peer, data)

    def tick(self) -> None:
        """Do what time has made due, and what waits for missing data."""
        self._ticked_ms = self._clock.monotonic_ms()
        self._see_to_lack(self._ticked_ms)
        self._progress()
        if self._intake.look_at_gossip():
            self._tell_work()
        self._intake.spread_again()
        self._raise_event(TimerFired())
        self.sync.step(self._clock.monotonic_ms())
        self._upkeep.step(is_installing=self.sync.is_installing)

    def _see_to_lack(self, now_ms: int) -> None:
        lack = self.engine.lack
        if lack is None:
            return
        if now_ms >= self._lack_asked_ms:
            self._lack_asked_ms = now_ms + LACK_ASKED_EVERY_MS
            # Peers take it for a validator and wait for its statuses, which it does not send: it asks how far they are.
            for peer in sorted(self._messenger.connected):
                self.sync.probe(peer)
        if now_ms < self._lack_told_ms:
            return
        self._lack_told_ms = now_ms + LACK_TOLD_EVERY_MS
        logger.warning(
            "node.follows member=%s epoch=%d lacks=%s cure=%s",
            self._member,
            self.engine.epoch,
            lack.what,
            lack.cure,
        )

    def next_deadline_ms(self) -> int:
        """Return the monotonic time in milliseconds at which `tick` is due."""
        now = self._clock.monotonic_ms()
        if self.sync.has_slice:
            return now
        next_look_ms = self._intake.next_look_ms
        if next_look_ms is not None and next_look_ms <= now:
            return now
        is_waiting = self._executor.is_waiting or self.sync.is_behind(now)
        pause_ms = ASK_AGAIN_MS // 5 if is_waiting else 1_000
        if self._upkeep.is_busy:
            pause_ms = UPKEEP_PAUSE_MS
        core_deadline = self.core.next_deadline_ms()
        limit = max(now, self._ticked_ms + pause_ms)
        if next_look_ms is not None:
            limit = min(limit, next_look_ms)
        return limit if core_deadline is None else min(limit, core_deadline)

    # -- transactions -----------------------------------------------------------------------------------

    def admit(self, transaction: Transaction) -> bool:
        """Take a client's transaction into the mempool; say whether it is new.

        Raises LedgerError or MempoolError.
        """
        return self._intake.admit(transaction)

    @property
    def rest_factor(self) -> int:
        """How long to rest after admitting transactions, beside what that took."""
        return self._intake.rest_factor

    def spread(self, transactions: list[Transaction]) -> None:
        """Tell every peer of transactions that were admitted here, and have a block made of them."""
        self._intake.spread(transactions)
        self._tell_work()

    def _tell_work(self) -> None:
        has_work = self._has_work()
        if has_work or self._had_work:
            self._had_work = has_work
            self._raise_event(WorkChanged(has_work))

    def _has_work(self) -> bool:
        if self.is_behind():
            # What is wanted above an old tip may be there already: a node that catches up obliges nobody.
            return False
        if self.chain.tip.header.height == 0:
            # Proofs stand on a certified header: a new chain makes its first block at once.
            return True
        if self._executor.is_sealing:
            return True
        return self._intake.wants_block(self.chain.ids_above_tip(self._executor.certified_hash))

    # -- the core ---------------------------------------------------------------------------------------

    def _raise_event(self, event: Event) -> None:
        self._events.append(event)
        self._handle_events()

    def _handle_events(self) -> None:
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._events:
                following, now_ms, core = self._events.popleft(), self._clock.monotonic_ms(), self.core
                self._core_log.happens(following, now_ms)
                effects = core.handle(following, now_ms)
                self._core_log.decided(core, effects)
                self.own_key.note_decided(core)
                for effect in effects:
                    self._perform(effect)
                if isinstance(following, Certified):
                    self._tell_work()
                if self._finality.is_epoch_over:
                    self._hand_over()
                elif self.engine.may_resume(self.chain.tip.header.height):
                    self._take_part()
        except BaseException as error:
            # Whoever called us may be a client's request: the node ends all the same.
            self._on_failure(error)
            raise
        finally:
            self._is_handling = False
            self._core_log.flush()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Persist():
                self.engine.journal.persist(effect)
                self.own_key.note_persisted(effect.records)
            case Broadcast():
                self._messenger.broadcast(self._envelope(effect.message))
            case Send():
                member = self._validators.validators[effect.peer].member
                self._messenger.send(member, self._envelope(effect.message))
            case Build():
                self._executor.build(effect)
            case Verify():
                self._executor.verify(effect)
            case Certify():
                self._executor.certify(effect)
            case CancelCertify():
                self._executor.cancel_certify(effect.view)
            case RequestBlock():
                members = [self._validators.validators[peer].member for peer in effect.peers]
                self._block_requests.ask(effect.block_hash, WantBlock(effect.block_hash), members)
            case Finalized():
                self._finality.learn(effect.certificate)
                self._tell_work()
            case Misbehaviour():
                member = self._validators.validators[effect.first.signer].member
                report = misbehaviour_report(effect.first, effect.second, self._validators)
                self.misbehaviour.append((member, report))
                self.misbehaviour_count += 1
                view = effect.first.subject.view
                logger.warning("consensus.misbehaviour validator=%s view=%d", member, view)
            case Punish():
                member = self._validators.validators[effect.peer].member
                self._messenger.disconnect(member, effect.reason)
            case AmnesiaEnded():
                self.engine.journal.amnesia_ended(self.core)
                logger.warning("consensus.amnesia_ended")
            case Trace():
                logger.debug("%s %s", effect.name, Fields(effect.fields))
            case _:
                assert_never(effect)

    def _envelope(self, message: Message) -> PeerMessage:
        encoded = encode_message(message)
        if isinstance(message, BlockProposalMessage) and message.vote.subject.block_hash is not None:
            candidate = self.chain.tree.find(message.vote.subject.block_hash)
            if candidate is not None:
                return BlockProposal(encoded, candidate.encoded_header.encoded, candidate.transaction_ids)
        return Consensus(encoded)

    def _progress(self) -> None:
        """Try everything that waits for missing data, time or an ancestor."""
        self._executor.progress()
        self._finality.catch_up()
        self._handle_events()

    # -- finality ---------------------------------------------------------------------------------------

    def is_behind(self) -> bool:
        """Say whether others made blocks final that are not here yet."""
        return self._finality.is_behind

    def _note_final(self, path: list[Executed]) -> None:
        self._look_for_reports(path)
        self._on_final(path)
        self._had_work = self._has_work()
        self._events.append(WorkChanged(self._had_work))

    def _look_for_reports(self, path: list[Executed]) -> None:
        """Look whether these blocks put misbehaviour of this node's own member on record."""
        key = misbehaviour_key(self.engine.epoch, self._member)
        if any(key in executed.overlay.values for executed in path):
            recorded = find(self.chain.store, RecordedMisbehaviour, key)
            assert recorded is not None, "what is final is in the store"
            self.own_key.note_reported(recorded.first, recorded.second)

    # -- what sync asks of its node ---------------------------------------------------------------------

    def send(self, peer: str, message: PeerMessage) -> bool:
        """Queue a message for a peer; False where it is not connected."""
        return self._messenger.send(peer, message)

    def disconnect(self, peer: str, reason: str) -> None:
        """Disconnect a peer for a time."""
        self._messenger.disconnect(peer, reason)

    def stop_error(self, reason: str) -> Exception:
        """Return the error to raise where an invariant is broken: it ends the node."""
        return stopped(reason)

    def commit_final(
        self, path: list[Executed], certificate: QuorumCertificate | None, proof: QuorumCertificate
    ) -> None:
        """Make executed blocks on the tip final, and tell the core what proves it."""
        self.chain.commit_final(path, certificate)
        # First of all: the signer's floor rises with the chain, and a core that does not know it would vote below.
        self._events.appendleft(Received(None, CertificateMessage(proof)))
        self._finality.note_final(path)
        self._handle_events()
        self._progress()

    def installed(self) -> None:
        """Go on from the tip of a snapshot, with an engine of its epoch."""
        self.chain.restart()
        self._intake.clear()
        self.engine = self._engines.resume(
            self.engine, self.chain.tip, self.chain.store.tip_certificate(), self.chain.holds
        )
        self._begin_engine()
        self._events.appendleft(Started())
        self._on_installed()
        self._handle_events()

    # -- the next engine --------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Start the next epoch's engine: the seal is final and on disk."""
        self.engine = self._engines.succeed(self.engine, self.chain.tip, self.chain.holds)
        self._begin_engine()
        self._events.appendleft(Started())

    def _take_part(self) -> None:
        """Start an engine that votes: the chain is where this home had been (docs/starting.md)."""
        self.engine = self._engines.resume(
            self.engine, self.chain.tip, self.chain.store.tip_certificate(), self.chain.holds
        )
        self._begin_engine()
        self._events.appendleft(Started())

    def _begin_engine(self) -> None:
        logger.info(
            "epoch.opened epoch=%d height=%d validators=%d is_validator=%s",
            self.engine.epoch,
            self.chain.tip.header.height,
            len(self._validators),
            self.engine.me is not None,
        )
        self._lack_told_ms = 0
        # What the ended core waited for, and what was meant for it, is of no use to this one.
        self._events.clear()
        self._core_log.begin(self.core)
        self.heard.begin(self._validators)
        self.own_key.begin(self.core, self.engine.me)
        self._executor.begin(self.engine)
        self._finality.begin(self.engine)
        self._inbox.begin(self.engine)
        connected = (self._validators.index_of(peer) for peer in sorted(self._messenger.connected))
        self._events.extend(PeerUp(index) for index in connected if index is not None)
        self._had_work = self._has_work()
        self._events.append(WorkChanged(self._had_work))
