"""One machine: a process of the real node code, on a simulated disk, clock and network.

Rule 1: this is the only place where a simulated node is made of its parts. It follows node/run.py.
Rule 2: a process does one thing after another. While it waits for its disk, or is paused, what arrives waits.
Rule 3: a process ends by a power cut, by a kill, or because a write failed or a record is damaged. Anything
else that ends it is a fault of the program.
"""

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ledger.chain.overlays import Executed, Tip
from ledger.encoding.keys import PrivateKey
from ledger.errors import LedgerError
from ledger.rules.certificates import VOTE_TAGS, QuorumCertificate, Subject
from ledger.rules.standing import require_member
from ledger.rules.transactions import Transaction
from node.chain.chain import Chain
from node.consensus.config import Config
from node.consensus.effects import Effect
from node.consensus.events import Event
from node.consensus.journal import JournalRecord
from node.errors import MempoolError, StoreError, VoteLogError
from node.peernames import unpinned
from node.replica.driver import Driver
from node.replica.engine import Engine, Engines, HoldsBlock
from node.replica.journal import Journal, VoteLogJournal
from node.replica.mempool import Mempool
from node.replica.reporter import Reporter
from node.storage.snapshotstore import SnapshotStore, SnapshotStoreError
from node.storage.store import Store
from node.storage.tables import REPAIR
from node.sync.host import SyncParts, SyncTuning
from tests.campaigns.simulation.whole.certificates import Certificates
from tests.campaigns.simulation.whole.consortium import START_MS, Consortium
from tests.campaigns.simulation.whole.database import SimulatedDatabase
from tests.campaigns.simulation.whole.disk import VOTES, Disk, PowerCut
from tests.campaigns.simulation.whole.files import SimulatedFiles
from tests.campaigns.simulation.whole.governors import find_spare_key
from tests.campaigns.simulation.whole.links import Links

if TYPE_CHECKING:
    from tests.campaigns.simulation.whole.oracle import Oracle

RESTART_MS = 700
SNAPSHOT_INTERVAL = 10
SNAPSHOT_DISTANCE = 15
CHUNK_SIZE = 2_048
COMPACTION_SIZE = 256 * 1024
"""Blocks and bytes: small, so that a short history has snapshots of several chunks and rewrites its vote logs."""


class _Watched:
    """Engines whose cores the oracle looks into."""

    def __init__(self, engines: Engines, machine: "Machine") -> None:
        self._engines = engines
        self._machine = machine

    def open(self, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock) -> Engine:
        """Open an engine, and watch its core."""
        return self._watch(self._engines.open(tip, certificate, holds))

    def succeed(self, ended: Engine, seal: Tip, holds: HoldsBlock) -> Engine:
        """Open the next epoch's engine, and watch its core."""
        self._machine.timeline.sometimes["handover of a running node"] += 1
        return self._watch(self._engines.succeed(ended, seal, holds))

    def resume(
        self, ended: Engine, tip: Tip, certificate: QuorumCertificate | None, holds: HoldsBlock
    ) -> Engine:
        """Open the engine that goes on from a snapshot, and watch its core."""
        return self._watch(self._engines.resume(ended, tip, certificate, holds))

    def _watch(self, engine: Engine) -> Engine:
        machine, handle = self._machine, engine.core.handle

        def watched(event: Event, now_ms: int) -> list[Effect]:
            effects = handle(event, now_ms)
            machine.oracle.note_handled(machine, engine, event, effects, now_ms)
            return effects

        engine.core.handle = watched  # type: ignore[method-assign]
        machine.oracle.note_engine(machine, engine)
        return engine


class Machine:
    """One member's machine. Twins are two machines of one member."""

    keeps_rules = True

    def __init__(
        self, number: int, member: str, consortium: Consortium, links: Links, oracle: "Oracle"
    ) -> None:
        self.number = number
        self.member = member
        self.consortium = consortium
        self.links = links
        self.timeline = links.timeline
        self.oracle = oracle
        self.disk = Disk()
        self.certificates = Certificates(member)
        self.incarnation = 0
        self.is_up = False
        self.is_dead = False
        self.clock_offset_ms = 0
        self.clock_drift_permille = 0
        self.is_log_rotten = False
        """Whether a copy in the vote log is damaged that nobody has repaired: a second one may be its twin."""
        self.failures: list[str] = []
        self.driver: Driver | None = None
        self._reporter: Reporter | None = None
        self._links_count: Counter[str] = Counter()
        self._inbox: deque[tuple[str, Callable[[], None]]] = deque()
        self._is_draining = False
        self._free_at_ms = 0
        self._tick_at_ms: int | None = None

    # The process.

    def start(self) -> None:
        """Start the process, from what the disk holds."""
        if self.is_up or self.is_dead:
            return
        self.incarnation += 1
        self._inbox.clear()
        self._links_count.clear()
        self.is_log_rotten = False
        self._tick_at_ms = None
        self._free_at_ms = self.timeline.now_ms
        self.timeline.trace(f"{self.number} starts")
        self._guarded("open", self._open)
        if self.driver is not None:
            self.is_up = True
            self.oracle.note_start(self)
            self._post("start", self.driver.start)
            self.links.refresh()

    def _open(self) -> None:
        store = Store.over(SimulatedDatabase(self.disk, self.disk.records), self.consortium.genesis)
        chain = Chain(store)
        engines = Engines(
            member=self.member,
            chain_id=self.consortium.chain_id,
            tuning=Config(),
            find_key=partial(self.consortium.find_validator_key, self.member),
            open_journal=self._open_journal,
        )
        self.driver = Driver(
            member=self.member,
            engines=_Watched(engines, self),
            chain=chain,
            mempool=Mempool(),
            transport=self,
            clock=self,
            on_final=self._became_final,
            on_refused=lambda transaction, error: self.oracle.note_refused(self, transaction, error),
            on_failure=lambda _error: None,
            sync=SyncParts(
                self.consortium.pins,
                self._open_snapshot_store(),
                SyncTuning(snapshot_distance=SNAPSHOT_DISTANCE),
                interval=SNAPSHOT_INTERVAL,
                chunk_size=CHUNK_SIZE,
            ),
            on_installed=self._was_installed,
        )

        self.certificates.read(chain.store)
        self._reporter = Reporter(
            member=self.member,
            find_member_key=self._find_member_key,
            driver=self.driver,
            clock=self,
        )

    def _find_member_key(self) -> PrivateKey:
        assert self.driver is not None, "an open node"
        registered = require_member(self.driver.chain.store, self.member).key
        own = self.consortium.member_key(self.member)
        return own if own.public == registered else find_spare_key(registered)

    def _became_final(self, path: list[Executed]) -> None:
        self.oracle.note_final(self, path)
        if not all(self.certificates.read_keys.isdisjoint(executed.overlay.values) for executed in path):
            self._read_certificates()
        if self._reporter is not None and self._reporter.is_needed:
            # Not within the step that made this final.
            self._post("report", self._reporter.report)

    def _was_installed(self) -> None:
        self.oracle.note_installed(self)
        self._read_certificates()

    def _read_certificates(self) -> None:
        assert self.driver is not None, "an open node"
        if self.certificates.read(self.driver.chain.store):
            self.links.repin(self.number)

    def _open_snapshot_store(self) -> SnapshotStore:
        try:
            return SnapshotStore(SimulatedDatabase(self.disk, self.disk.snapshot_store))
        except SnapshotStoreError:
            self.timeline.sometimes["snapshot_store of snapshots begun anew"] += 1
            self.disk.lose_snapshots()
            return SnapshotStore(SimulatedDatabase(self.disk, self.disk.snapshot_store))

    def _open_journal(self, epoch: int, has_voted: bool) -> tuple[Journal, tuple[JournalRecord, ...]]:
        journal, records, recovery = VoteLogJournal.open(
            VOTES,
            chain_id=self.consortium.chain_id,
            validator=self.member,
            epoch=epoch,
            has_voted=has_voted,
            files=SimulatedFiles(self.disk),
            compaction_size=COMPACTION_SIZE,
        )
        sometimes = self.timeline.sometimes
        sometimes["amnesia: the vote log tells"] += recovery.damage is not None
        sometimes["vote log repaired from its copy"] += recovery.repaired_copies_count > 0
        sometimes["torn append of the vote log dropped"] += recovery.dropped_torn
        self.oracle.note_journal(self, recovery.damage)
        return journal, records

    def sign_anything(self, subject: Subject) -> bytes:
        """Sign as a machine that keeps no rule, with the key of the present set."""
        assert self.driver is not None, "an open node"
        engine = self.driver.engine
        assert engine.me is not None, "a validator"
        key = self.consortium.find_validator_key(self.member, engine.validators.validators[engine.me].key)
        assert key is not None, "members have their keys"
        return key.sign(VOTE_TAGS[subject.kind], subject.body(self.consortium.chain_id))

    def stop(self, *, salt: int | None, restart_ms: int | None) -> None:
        """End the process at once: by a power cut with a salt, or by a kill. Perhaps it starts again."""
        was_up = self.is_up
        self.is_up = False
        self.driver = None
        self.incarnation += 1
        self._inbox.clear()
        if salt is not None:
            self.disk.cut_power(salt)
        self.disk.steps_left = None
        self.timeline.trace(f"{self.number} stops")
        self.oracle.note_stop(self)
        if was_up:
            self.links.drop(self.number)
        if restart_ms is not None:
            self.timeline.after(restart_ms, self.start)

    def pause(self, duration_ms: int) -> None:
        """Stop the process for a while, as SIGSTOP does."""
        self._free_at_ms = max(self._free_at_ms, self.timeline.now_ms + duration_ms)

    def _guarded(self, name: str, action: Callable[[], None]) -> bool:
        """Do one thing; a failure that the world caused ends the process."""
        self.disk.spent_ms = 0
        try:
            action()
        except PowerCut as cut:
            self.timeline.sometimes[f"power cut at {cut}"] += 1
            self.stop(salt=self.timeline.events_count, restart_ms=RESTART_MS)
            return False
        except (StoreError, VoteLogError) as error:
            self._fail(error)
            return False
        self._free_at_ms = max(self._free_at_ms, self.timeline.now_ms + self.disk.spent_ms)
        return True

    def _fail(self, error: StoreError | VoteLogError) -> None:
        """The node stopped and said why; its operator starts it again, with the cure that it named."""
        self.failures.append(str(error))
        self.timeline.trace(f"{self.number} fails: {type(error).__name__}")
        is_damaged = isinstance(error, StoreError) and error.cure == REPAIR
        kind = "damaged record" if is_damaged else "failed write"
        self.timeline.sometimes[f"node stopped by a {kind}"] += 1
        self.stop(salt=None, restart_ms=RESTART_MS)
        if is_damaged and self.disk.records.rotten:
            if self.oracle.may_lose_database(self):
                self.timeline.sometimes["database fetched again from peers"] += 1
                self.lose_database()
            else:
                # This once the disk reads well at the second try: too many have lost what they voted for.
                self.disk.records.rotten.clear()

    def lose_database(self) -> None:
        """Start over with an empty database and the vote log."""
        self.disk.lose_database()
        self.oracle.note_lost_database(self)

    # What arrives.

    def deliver(self, sender: str, data: bytes) -> None:
        """Take a message from the network."""
        receive = partial(self._receive, sender, data)
        if self._inbox or self._is_draining or self._free_at_ms > self.timeline.now_ms:
            self._post("receive", receive)
        elif self.is_up:
            self._step("receive", receive)

    def _receive(self, sender: str, data: bytes) -> None:
        if self.driver is not None:
            self.driver.receive(sender, data)

    def peer_up(self, peer: str) -> None:
        """Learn of a connection."""
        self._links_count[peer] += 1
        if self._links_count[peer] == 1 and self.driver is not None:
            self._post("peer up", partial(self.driver.peer_up, peer))

    def peer_down(self, peer: str) -> None:
        """Learn of a lost connection."""
        self._links_count[peer] -= 1
        if self._links_count[peer] == 0 and self.driver is not None:
            self._post("peer down", partial(self.driver.peer_down, peer))

    def submit(self, transactions: list[Transaction]) -> None:
        """Take transactions from a client."""
        self._post("submit", partial(self._submit, transactions))

    def _submit(self, transactions: list[Transaction]) -> None:
        assert self.driver is not None, "a node that is up"
        taken = []
        for transaction in transactions:
            try:
                if self.driver.admit(transaction):
                    taken.append(transaction)
            except (LedgerError, MempoolError) as error:
                self.oracle.clients.was_refused(transaction, error)
        self.driver.spread(taken)

    def _post(self, name: str, action: Callable[[], None]) -> None:
        if self.is_up:
            self._inbox.append((name, action))
            self._plan_draining()

    def _plan_draining(self) -> None:
        if not self._is_draining:
            self._is_draining = True
            start_ms = max(self.timeline.now_ms, self._free_at_ms)
            self.timeline.at(start_ms, partial(self._drain, self.incarnation))

    def _drain(self, incarnation: int) -> None:
        self._is_draining = False
        while self._inbox and self.is_up and incarnation == self.incarnation:
            if self._free_at_ms > self.timeline.now_ms:
                break
            name, action = self._inbox.popleft()
            self._step(name, action)
        if self._inbox and self.is_up:
            self._plan_draining()

    def _step(self, name: str, action: Callable[[], None]) -> None:
        if not self._guarded(name, action):
            return
        assert self.driver is not None, "a node that is up"
        self.oracle.note_step(self, name)
        self._arm()

    def _arm(self) -> None:
        assert self.driver is not None, "a node that is up"
        due_ms = max(self.driver.next_deadline_ms(), self.timeline.now_ms + 1)
        if self._tick_at_ms is None or due_ms < self._tick_at_ms or self._tick_at_ms <= self.timeline.now_ms:
            self._tick_at_ms = due_ms
            self.timeline.at(due_ms, partial(self._tick, self.incarnation, due_ms))

    def _tick(self, incarnation: int, due_ms: int) -> None:
        if incarnation == self.incarnation and self.is_up and due_ms == self._tick_at_ms:
            assert self.driver is not None, "a node that is up"
            self._tick_at_ms = None
            self._post("tick", self.driver.tick)

    # Clock (node.clock.Clock).

    def monotonic_ms(self) -> int:
        return self.timeline.now_ms + self.disk.spent_ms

    def wall_ms(self) -> int:
        now_ms = self.monotonic_ms()
        return START_MS + now_ms + self.clock_offset_ms + now_ms * self.clock_drift_permille // 1_000

    # Transport (node.replica.messenger.Transport).

    def send(self, peer_id: str, data: bytes) -> bool:
        return self.transmit(peer_id, data)

    def transmit(self, peer: str, data: bytes) -> bool:
        """Send one message as it is."""
        self.disk.step("send")
        self.oracle.note_sent(self, data)
        self.timeline.trace(f"{self.number} to {peer}", data)
        return self.links.send(self, peer, data, sent_ms=self.monotonic_ms())

    def broadcast(self, data: bytes) -> int:
        self.disk.step("send")
        self.oracle.note_sent(self, data)
        self.timeline.trace(f"{self.number} to all", data)
        count = self.links.broadcast(self, data, sent_ms=self.monotonic_ms())
        self.disk.step("sent")
        return count

    def disconnect(self, peer_id: str, reason: str, seconds: float) -> None:
        self.oracle.note_punishment(self, peer_id, reason)
        until_ms = self.timeline.now_ms + int(seconds * 1_000)
        for other in list(self.links.machines.values()):
            if other.member == peer_id or unpinned(other.member) == peer_id:
                self.links.refuse(self.number, other.number, until_ms)
