"""The driver: it performs the core's effects in order, on real disks and sockets (docs/architecture.md).

Rule 1: one asyncio loop owns core, chain and mempool. Every method here runs on it and never waits.
Rule 2: a `Persist` is synced before any later effect is performed. A failed write stops the node.
Rule 3: before a block is reported built, verified or certified, all its bytes are durable here.
Rule 4: what is missing is fetched and answered late; only a block that breaks a rule is answered as invalid.
Rule 5: a notarized block that executes to another result here stops the node: a quorum differs from us.
Rule 6: when an epoch's seal is final here, its engine ends and the next one starts (docs/epochs.md).
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, assert_never

from ledger.blocks import BlockError, Header, SealedHeader
from ledger.certificates import QuorumCertificate, ValidatorSet
from ledger.errors import LedgerError
from ledger.execution import is_sealing
from ledger.misbehaviour import misbehaviour_report
from ledger.operations import ReportMisbehaviour
from ledger.overlays import Executed, Tip
from ledger.standing import Refused
from ledger.statepages import StatePageError
from ledger.transactions import Transaction, transaction_id
from node.arrivals import Arrivals
from node.blockbudget import BlockBudget
from node.blocktree import Candidate
from node.chain import Chain
from node.clock import Clock
from node.consensus.core import Simplex
from node.consensus.effects import (
    AmnesiaEnded,
    Broadcast,
    Build,
    CancelCertify,
    Certify,
    Effect,
    Evidence,
    Finalized,
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
from node.consensus.messages import (
    CertificateMessage,
    Message,
    ProposalMessage,
    decode_message,
    encode_message,
    epoch_of,
)
from node.engine import Engine, HoldsBlock
from node.mempool import Mempool, MempoolError
from node.messages import (
    Consensus,
    FinalBlocks,
    Gossip,
    NotHeld,
    PeerMessage,
    Proposal,
    SnapshotChunk,
    SnapshotOffer,
    StoredBlock,
    SyncAnswer,
    SyncRequest,
    WantBlock,
    WantChunk,
    WantFinal,
    WantSnapshot,
    WantTransactions,
    decode_peer_message,
    encode_peer_message,
)
from node.network.fetching import is_unpinned
from node.questions import ASK_AGAIN_MS, Questions
from node.serving import Serving, gossips
from node.sync.host import SyncParts
from node.sync.server import SyncServer
from node.sync.sync import Sync
from node.sync.upkeep import UPKEEP_PAUSE_MS, Upkeep

logger = logging.getLogger(__name__)

BLOCK_AGE_MAX_MS: Final = 60_000
OFFENCE_S: Final = 10.0
WAITING_MAX: Final = 256
ARRIVALS_PER_TICK_MAX: Final = 32
PENDING_SET: Final = "pending-set"
MISBEHAVIOUR_MAX: Final = 64
SPREAD_AGAIN_MS: Final = 3_000
SPREAD_AGAIN_MAX: Final = 256


class Transport(Protocol):
    """What the driver needs of the network."""

    def send(self, peer_id: str, data: bytes) -> bool:
        """Queue a message for one peer; False when it is not connected."""
        ...

    def broadcast(self, data: bytes) -> int:
        """Queue a message for every connected peer."""
        ...

    def disconnect(self, peer_id: str, reason: str, seconds: float) -> None:
        """Refuse a peer for a time."""
        ...


class EngineSource(Protocol):
    """What makes the engines, one for each epoch; `node.engine.Engines` does."""

    def open(self, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock) -> Engine:
        """Return the engine that goes on from the stored tip."""
        ...

    def succeed(self, ended: Engine, seal: Tip, holds: HoldsBlock) -> Engine:
        """Return the engine of the epoch that a final seal opens."""
        ...

    def resume(
        self, ended: Engine, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock
    ) -> Engine:
        """Return the engine that goes on from the tip of a snapshot."""
        ...


class NodeStopped(Exception):
    """The node met its own broken invariant and stopped. The message says what to do."""


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
    ) -> None:
        self._member = member
        self._engines = engines
        self.engine = engines.open(chain.tip, chain.store.tip_certificate(), chain.holds)
        self.chain = chain
        self.mempool = mempool
        self._transport = transport
        self._clock = clock
        self._on_final = on_final
        self._on_refused = on_refused
        self._on_failure = on_failure
        self._events: deque[Event] = deque()
        self._is_handling = False
        self._verifying: dict[bytes, Verify] = {}
        self._certifying: dict[bytes, Certify] = {}
        self._building: Build | None = None
        self._connected: set[str] = set()
        self._questions = Questions(self._send, self._connected, clock)
        self._serving = Serving(self._send, chain, mempool)
        self._arrivals = Arrivals()
        self._budget = BlockBudget()
        # The newest finalization whose block is not final here yet.
        self._finalization: QuorumCertificate | None = None
        # By what height the parent on which it did not apply is final, or abandoned.
        self._refused_above: dict[bytes, int] = {}
        # What was submitted here and waits, in order.
        self._spread: dict[bytes, None] = {}
        self._spread_again_at_ms = 0
        self._had_work = False
        self._is_over = False
        self._certified = (0, chain.tip.sealed.hash)
        self._is_sealing = is_sealing(chain.tip.state)
        self.misbehaviour: deque[tuple[str, ReportMisbehaviour]] = deque(maxlen=MISBEHAVIOUR_MAX)
        """Who misbehaved, and what shows it, until somebody takes it to report it."""
        self._on_installed = on_installed
        self._ticked_ms = clock.monotonic_ms()
        self.sync = Sync(chain, sync.shelf, sync.pins, self, sync.tuning)
        self._server = SyncServer(chain, sync.shelf)
        self._upkeep = Upkeep(chain.store, sync)
        chain.before_commit = self._upkeep.before_commit

    @property
    def core(self) -> Simplex:
        """The core of the present epoch."""
        return self.engine.core

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
        self.sync.peer_up(peer)
        if is_unpinned(peer):
            # No status and no certificate is taken from it: it must be asked how far it is.
            self.sync.probe(peer)
            return
        self._connected.add(peer)
        index = self._validators.index_of(peer)
        if index is not None:
            self._raise_event(PeerUp(index))
            return
        final = self.chain.store.tip_certificate()
        if final is not None:
            # The core speaks with validators only; an observer learns here how far the chain is.
            self._send(peer, Consensus(encode_message(CertificateMessage(final))))

    def peer_down(self, peer: str) -> None:
        """Take note of a lost connection."""
        self._connected.discard(peer)
        self.sync.peer_down(peer)
        self._server.forget(peer)
        index = self._validators.index_of(peer)
        if index is not None:
            self._raise_event(PeerDown(index))

    def tick(self) -> None:
        """Do what time has made due, and what waits for missing data."""
        self._ticked_ms = self._clock.monotonic_ms()
        self._progress()
        self._admit_arrivals()
        self._spread_again()
        self._raise_event(TimerFired())
        self.sync.step(self._clock.monotonic_ms())
        self._upkeep.step(is_installing=self.sync.is_installing)

    def next_deadline_ms(self) -> int:
        """Return the monotonic time in milliseconds at which `tick` is due."""
        now = self._clock.monotonic_ms()
        if self._arrivals or self.sync.has_slice:
            return now
        is_waiting = self._verifying or self._certifying or self._building or self.sync.is_active(now)
        pause_ms = ASK_AGAIN_MS // 5 if is_waiting else 1_000
        if self._upkeep.is_busy:
            pause_ms = UPKEEP_PAUSE_MS
        core_deadline = self.core.next_deadline_ms()
        limit = max(now, self._ticked_ms + pause_ms)
        return limit if core_deadline is None else min(limit, core_deadline)

    def receive(self, peer: str, data: bytes) -> None:
        """Take one message of a connected peer. Whatever is not one canonical message is an offence."""
        try:
            message = decode_peer_message(data)
            if is_unpinned(peer) and not isinstance(message, SyncAnswer):
                # It takes us for a peer like any other. We do not know it: it may answer, and nothing else.
                return
            self._dispatch(peer, message)
        except StatePageError:
            # Our own damage and no offence of the peer's: pages are made here, from what was verified.
            raise
        except LedgerError as error:
            self._punish(peer, error)

    def _punish(self, peer: str, error: LedgerError) -> None:
        logger.warning("peer.offence peer=%s error=%s", peer, error)
        self._arrivals.forget(peer)
        self._transport.disconnect(peer, str(error)[:200], OFFENCE_S)

    def _dispatch(self, peer: str, message: PeerMessage) -> None:
        match message:
            case Consensus():
                self._receive_consensus(peer, decode_message(message.message))
            case Proposal():
                self._receive_proposal(peer, message)
            case Gossip():
                self._receive_gossip(peer, message)
            case WantTransactions():
                self._serving.transactions(peer, message)
            case WantBlock():
                self._serving.block(peer, message)
            case StoredBlock():
                self._receive_block(message)
            case WantFinal() | WantSnapshot() | WantChunk():
                self._send(peer, self._server.answer(peer, message, self._clock.monotonic_ms()))
            case FinalBlocks() | SnapshotOffer() | SnapshotChunk() | NotHeld():
                self.sync.receive(peer, message, self._clock.monotonic_ms())
            case _:
                assert_never(message)

    def _receive_consensus(self, peer: str, message: Message) -> None:
        if epoch_of(message) > self.engine.epoch:
            # It is of no use to this engine, but its sender is past our seal.
            self.sync.note_ahead(peer)
        self._raise_event(Received(self._validators.index_of(peer), message))

    def _receive_proposal(self, peer: str, message: Proposal) -> None:
        core_message = decode_message(message.message)
        sealed = SealedHeader.decode(message.header)
        if not isinstance(core_message, ProposalMessage):
            raise BlockError("proposal", "a leader's vote", type(core_message).__name__)
        subject = core_message.vote.subject
        if subject.block_hash != sealed.hash or not sealed.header.may_be_certified_in(subject.view):
            raise BlockError("proposal", "a vote for its own header", "a vote for another block")
        if self.engine.me is None:
            self._receive_consensus(peer, core_message)
            return
        # A seal that is proposed again is here already, or is asked for by its hash.
        if subject.view == sealed.header.view:
            candidate = self.chain.propose(sealed, message.transaction_ids)
            if candidate is not None:
                self._collect(candidate)
        self._receive_consensus(peer, core_message)
        self._progress()

    def _receive_gossip(self, peer: str, message: Gossip) -> None:
        """Take what blocks wait for; let the rest wait until there is time for it."""
        is_wanted = False
        for encoded in message.transactions:
            identity = transaction_id(encoded)
            if self.mempool.find(identity) is not None:
                continue
            if self.chain.is_wanted(identity):
                is_wanted = self.chain.take_transaction(Transaction.decode(encoded)) or is_wanted
            self._arrivals.put(peer, identity, encoded)
        if is_wanted:
            self._progress()

    def _admit_arrivals(self) -> None:
        """Look at some of the transactions that peers sent."""
        if not self._arrivals:
            return
        for peer, encoded in self._arrivals.take(ARRIVALS_PER_TICK_MAX):
            try:
                transaction = Transaction.decode(encoded)
            except LedgerError as error:
                self._punish(peer, error)
                continue
            try:
                self._take(transaction)
            except (LedgerError, MempoolError):
                # Lawful: the sender may be ahead of us, or our pool full. Proposals fetch what they need.
                continue
        self._tell_work()

    def _receive_block(self, block: StoredBlock) -> None:
        sealed = SealedHeader.decode(block.header)
        if not self._questions.is_asked(sealed.hash):
            return
        if self.chain.take_block(block, is_wanted=True) is not None:
            self._raise_event(BlockAvailable(sealed.hash))
        self._progress()

    # -- transactions -----------------------------------------------------------------------------------

    def admit(self, transaction: Transaction) -> bool:
        """Take a client's transaction into the mempool; say whether it is new.

        Raises LedgerError or MempoolError.
        """
        is_new = self._take(transaction)
        if not is_new and self.mempool.find(transaction.id) is not None:
            # It came by gossip from a node that may have lost it since; the client asks for it here.
            self._spread[transaction.id] = None
        return is_new

    def _take(self, transaction: Transaction) -> bool:
        if self.mempool.find(transaction.id) is not None:
            return False
        if self.chain.store.find_transaction(transaction.id) is not None:
            return False
        # The cheap question first: who has had his share makes nobody check a signature.
        self.mempool.check_room(transaction)
        self.chain.check_transaction(transaction, self._clock.wall_ms())
        self.mempool.add(transaction)
        return True

    def submit(self, transactions: list[Transaction]) -> None:
        """Spread transactions that were admitted here, and have a block made of them."""
        for gossip in gossips(transactions):
            self._broadcast(gossip)
        if not self._spread:
            self._spread_again_at_ms = self._clock.monotonic_ms() + SPREAD_AGAIN_MS
        self._spread.update((transaction.id, None) for transaction in transactions)
        self._tell_work()

    def _spread_again(self) -> None:
        """Spread anew what was submitted here and waits still: gossip is lost with a connection.

        A validator would record it in its own turn; one that only follows has none.
        """
        now_ms = self._clock.monotonic_ms()
        if not self._spread or now_ms < self._spread_again_at_ms:
            return
        self._spread_again_at_ms = now_ms + SPREAD_AGAIN_MS
        waiting = [found for each in self._spread if (found := self.mempool.find(each)) is not None]
        self._spread = dict.fromkeys(transaction.id for transaction in waiting)
        for gossip in gossips(waiting[:SPREAD_AGAIN_MAX]):
            self._broadcast(gossip)

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
        if self._is_sealing:
            return True
        above = self.chain.ids_above_tip(self._certified[1])
        return any(
            identity not in above and identity not in self._refused_above for identity in self.mempool.ids()
        )

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
                following = self._events.popleft()
                for effect in self.core.handle(following, self._clock.monotonic_ms()):
                    self._perform(effect)
                if self._is_over:
                    self._hand_over()
        except BaseException as error:
            # Whoever called us may be a client's request: the node ends all the same.
            self._on_failure(error)
            raise
        finally:
            self._is_handling = False

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Persist():
                self.engine.journal.persist(effect)
            case Broadcast():
                self._broadcast(self._envelope(effect.message))
            case Send():
                self._send(self._validators.validators[effect.peer].member, self._envelope(effect.message))
            case Build():
                self._building = effect
                self._build()
            case Verify():
                self._remember(self._verifying, effect.block_hash, effect)
                self._progress_on(effect.block_hash)
            case Certify():
                self._remember(self._certifying, effect.block_hash, effect)
                self._progress_on(effect.block_hash)
            case CancelCertify():
                self._certifying = {
                    block_hash: certify
                    for block_hash, certify in self._certifying.items()
                    if certify.view != effect.view
                }
            case RequestBlock():
                members = [self._validators.validators[peer].member for peer in effect.peers]
                self._questions.ask(effect.block_hash, WantBlock(effect.block_hash), members)
            case Finalized():
                self._finalize(effect.certificate)
            case Evidence():
                member = self._validators.validators[effect.first.signer].member
                report = misbehaviour_report(effect.first, effect.second, self._validators)
                self.misbehaviour.append((member, report))
                view = effect.first.subject.view
                logger.warning("consensus.misbehaviour validator=%s view=%d", member, view)
            case Punish():
                member = self._validators.validators[effect.peer].member
                self._transport.disconnect(member, effect.reason, OFFENCE_S)
            case AmnesiaEnded():
                self.engine.journal.amnesia_ended(self.core)
                logger.warning("consensus.amnesia_ended")
            case Trace():
                fields = " ".join(f"{name}={value}" for name, value in effect.fields)
                logger.debug("consensus.%s %s", effect.name, fields)
            case _:
                assert_never(effect)

    @staticmethod
    def _remember(waiting: dict[bytes, Verify] | dict[bytes, Certify], key: bytes, effect: object) -> None:
        assert len(waiting) < WAITING_MAX, "the core bounds what it waits for"
        waiting[key] = effect  # type: ignore[assignment]

    def _envelope(self, message: Message) -> PeerMessage:
        encoded = encode_message(message)
        if isinstance(message, ProposalMessage) and message.vote.subject.block_hash is not None:
            candidate = self.chain.tree.find(message.vote.subject.block_hash)
            if candidate is not None:
                return Proposal(encoded, candidate.sealed.encoded, candidate.transaction_ids)
        return Consensus(encoded)

    def _build(self) -> None:
        effect = self._building
        if effect is None or not self._ensure_executed(effect.parent_hash):
            return
        self._building = None
        parent = self.chain.tree.find_tip(effect.parent_hash)
        if parent is None:
            # Finality passed this parent while the block waited for it: nobody wants the block any more.
            self._events.append(Built(effect.view, None))
            return
        if self._is_own_seal(parent.header):
            # Nothing stands on a seal in its own epoch: it is proposed again until it is final.
            self._events.append(Built(effect.view, effect.parent_hash))
            return
        above = self.chain.ids_above_tip(effect.parent_hash)
        candidates = self.mempool.pick(
            count_max=self._budget.count_max, excluded=above | self._refused_above.keys()
        )
        began_ms = self._clock.monotonic_ms()
        built = self.chain.build(
            effect.parent_hash,
            candidates,
            view=effect.view,
            proposer=self._member,
            now_ms=self._clock.wall_ms(),
        )
        assert built is not None, "the parent is executed"
        self._budget.note(len(candidates), self._clock.monotonic_ms() - began_ms)
        executed, refused = built
        for transaction, _ in refused:
            self._refused_above[transaction.id] = executed.block.header.height - 1
        self._events.append(Built(effect.view, executed.block.hash))

    # -- verification and certification -----------------------------------------------------------------

    def _progress(self) -> None:
        """Try everything that waits for missing data, time or an ancestor."""
        for block_hash in [*self._verifying, *self._certifying]:
            self._progress_on(block_hash)
        self._build()
        if self.is_behind():
            self._catch_up()
        self._handle_events()

    def _progress_on(self, block_hash: bytes) -> None:
        verify = self._verifying.get(block_hash)
        if verify is not None:
            verdict = self._verdict(verify)
            if verdict is not None:
                del self._verifying[block_hash]
                self._events.append(Verified(verify.view, block_hash, verdict))
        certify = self._certifying.get(block_hash)
        if certify is not None and self._certify(certify):
            del self._certifying[block_hash]
            self._note_certified(certify.view, block_hash)
            self._events.append(Certified(certify.view, block_hash, True))
            self._tell_work()

    def _verdict(self, verify: Verify) -> bool | None:
        """Return whether a proposal is valid, or None where that cannot be said yet."""
        candidate = self.chain.tree.find(verify.block_hash)
        if candidate is None:
            return None if self.chain.store.find_height(verify.block_hash) is None else True
        header = candidate.sealed.header
        now_ms = self._clock.wall_ms()
        if verify.block_hash == verify.parent_hash:
            # Certified before, so the age rule, which is for fresh blocks, has passed. Where the core knows it by its
            # finalization only, it may not be here yet.
            if not self._is_own_seal(header):
                return False
            return True if self._ensure_executed(verify.block_hash) else None
        if header.epoch != self.engine.epoch:
            return False
        if header.parent_hash != verify.parent_hash or header.view != verify.view:
            return False
        if header.time_ms > now_ms:
            return None
        if header.time_ms < now_ms - BLOCK_AGE_MAX_MS:
            return False
        try:
            return True if self._ensure_executed(verify.block_hash) else None
        except BlockError as error:
            logger.warning("consensus.invalid_proposal view=%d error=%s", verify.view, error)
            return False

    def _certify(self, certify: Certify) -> bool:
        try:
            return self._ensure_executed(certify.block_hash)
        except BlockError as error:
            raise self._stop(f"a notarized block does not execute here: {error}") from error

    def _ensure_executed(self, block_hash: bytes) -> bool:
        """Execute a block and what it stands on, as far as everything is here; ask for what is not."""
        path: list[Candidate] = []
        while self.chain.tree.find_tip(block_hash) is None:
            candidate = self.chain.tree.find(block_hash)
            if candidate is None:
                if self.chain.store.find_height(block_hash) is None:
                    self._questions.ask(block_hash, WantBlock(block_hash), self._validators_but_me())
                    return False
                # Final itself; but what stands on it below the tip was never executed, and never will be.
                return not path
            path.append(candidate)
            block_hash = candidate.sealed.header.parent_hash
        for candidate in reversed(path):
            missing = self._collect(candidate)
            if missing:
                key = candidate.sealed.hash
                leader = candidate.sealed.header.proposer
                others = self._validators_but_me()
                order = [leader, *others] if leader is not None and leader != self._member else others
                self._questions.ask(key, WantTransactions(tuple(missing)), order)
                return False
            self.chain.execute(candidate)
        return True

    def _collect(self, candidate: Candidate) -> list[bytes]:
        for identity in self.chain.missing(candidate):
            transaction = (
                self.mempool.find(identity) or self.chain.find_body(identity) or self._arrived(identity)
            )
            if transaction is not None:
                self.chain.take_transaction(transaction)
        return self.chain.missing(candidate)

    def _arrived(self, identity: bytes) -> Transaction | None:
        encoded = self._arrivals.pop(identity)
        return None if encoded is None else Transaction.decode(encoded)

    # -- finality ---------------------------------------------------------------------------------------

    def _note_certified(self, view: int, block_hash: bytes) -> None:
        if (view, block_hash) < self._certified:
            return
        self._certified = (view, block_hash)
        tip = self.chain.tree.find_tip(block_hash)
        assert tip is not None, "what is certified is executed"
        self._is_sealing = self._is_own_seal(tip.header) or is_sealing(tip.state)

    def _is_own_seal(self, header: Header) -> bool:
        return header.is_seal and header.epoch == self.engine.epoch

    def _finalize(self, certificate: QuorumCertificate) -> None:
        block_hash = certificate.subject.block_hash
        assert block_hash is not None, "a finalization names a block"
        if self.chain.store.find_height(block_hash) is None:
            self._finalization = certificate
        self._catch_up()
        self._tell_work()

    def is_behind(self) -> bool:
        """Say whether others made blocks final that are not here yet."""
        return self._finalization is not None

    def _catch_up(self) -> None:
        """Move the chain to the newest finalization, along blocks that are here or with blocks of others."""
        if self._finalization is None:
            return
        path = self.chain.commit(self._finalization)
        if path is not None:
            self._became_final(path)
            return
        # What is not here, sync fetches.

    def _became_final(self, path: list[Executed]) -> None:
        tip = self.chain.tip
        final = self._finalization
        if final is not None and final.subject.block_hash is not None:
            is_reached = self.chain.store.find_height(final.subject.block_hash) is not None
            self._finalization = None if is_reached else final
        if not path:
            return
        if tip.header.view >= self._certified[0] or self._is_own_seal(tip.header):
            self._certified = (tip.header.view, tip.sealed.hash)
            self._is_sealing = is_sealing(tip.state)
        self._is_over = self._is_over or self._is_own_seal(tip.header)
        final_ids = [transaction.id for executed in path for transaction in executed.block.transactions]
        self.mempool.remove(final_ids)
        self._refuse(tip.header)
        self.engine.note_final(tip.header)
        self.engine.journal.finalized(self.core)
        self._on_final(path)
        logger.info(
            "block.finalized height=%d view=%d txs=%d", tip.header.height, tip.header.view, len(final_ids)
        )
        has_work = self._has_work()
        self._had_work = has_work
        self._events.append(WorkChanged(has_work))

    def _refuse(self, tip: Header) -> None:
        """Refuse what can be recorded no longer, and what did not apply above the tip and does not on it.

        Both are judged by the tip's own state and time: this node's clock may be wrong, and the block on which
        something did not apply may have been abandoned.
        """
        for transaction in self.mempool.expire(tip.time_ms):
            expected, found = (
                f"a block until {transaction.body.valid_until_ms}",
                f"a final one of {tip.time_ms}",
            )
            self._on_refused(transaction, Refused("expired", "valid_until_ms", expected, found))
        for identity, height in list(self._refused_above.items()):
            if height > tip.height:
                continue
            del self._refused_above[identity]
            waiting = self.mempool.find(identity)
            if waiting is None:
                continue
            try:
                self.chain.check_transaction(waiting, tip.time_ms)
            except LedgerError as error:
                if error.code == PENDING_SET:
                    # The next block is the seal, after which it may apply: others keep it as well.
                    continue
                self.mempool.remove([identity])
                self._on_refused(waiting, error)

    # -- what sync asks of its node ---------------------------------------------------------------------

    def send(self, peer: str, message: PeerMessage) -> bool:
        """Queue a message for a peer; False where it is not connected."""
        assert not is_unpinned(peer) or isinstance(message, SyncRequest), "from strangers we only fetch"
        return self._transport.send(peer, encode_peer_message(message))

    def punish(self, peer: str, reason: str) -> None:
        """Disconnect a peer for a time."""
        self._transport.disconnect(peer, reason, OFFENCE_S)

    def stop(self, reason: str) -> Exception:
        """Return the exception that ends the node."""
        return self._stop(reason)

    def commit_final(
        self, path: list[Executed], certificate: QuorumCertificate | None, proof: QuorumCertificate
    ) -> None:
        """Make executed blocks on the tip final, and tell the core what proves it."""
        self.chain.commit_final(path, certificate)
        self._became_final(path)
        self._raise_event(Received(None, CertificateMessage(proof)))
        self._progress()

    def installed(self) -> None:
        """Go on from the tip of a snapshot, with an engine of its epoch."""
        self.chain.restart()
        self._refused_above.clear()
        # Whether the blocks that were passed over hold any of these cannot be seen here: nothing is said of them.
        self.mempool.clear()
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
        self._is_over = False
        self.engine = self._engines.succeed(self.engine, self.chain.tip, self.chain.holds)
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
        # What the ended core waited for, and what was meant for it, is of no use to this one.
        self._events.clear()
        self._verifying.clear()
        self._certifying.clear()
        self._building = self._finalization = None
        self._certified, self._is_sealing = (0, self.chain.tip.sealed.hash), is_sealing(self.chain.tip.state)
        connected = (self._validators.index_of(peer) for peer in sorted(self._connected))
        self._events.extend(PeerUp(index) for index in connected if index is not None)
        self._had_work = self._has_work()
        self._events.append(WorkChanged(self._had_work))

    # -- sending ----------------------------------------------------------------------------------------

    def _validators_but_me(self) -> list[str]:
        return [each.member for each in self._validators.validators if each.member != self._member]

    def _send(self, peer: str, message: PeerMessage) -> None:
        self.send(peer, message)

    def _broadcast(self, message: PeerMessage) -> None:
        self._transport.broadcast(encode_peer_message(message))

    def _stop(self, reason: str) -> NodeStopped:
        logger.critical("node.stopped reason=%s", reason)
        return NodeStopped(reason)
