"""Four nodes in one process: driver, core, store, vote log and signatures are real, time and wires virtual."""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.chain.overlays import Executed
from ledger.chain.snapshots import CHUNK_LEAVES_SIZE, SNAPSHOT_INTERVAL
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.errors import LedgerError
from ledger.genesis import (
    DEVELOPMENT,
    GENESIS_VERSION,
    Genesis,
    GenesisContent,
    GenesisMember,
    GenesisNode,
    GenesisPurpose,
    GenesisSchema,
    sign_genesis,
)
from ledger.rules.operations import AnchorBatch, Operation, next_key_commitment
from ledger.rules.state import Parameters
from ledger.rules.transactions import Transaction, TransactionBody
from ledger.trust import TRUST_VERSION, Pins, TrustedRoot
from node.chain.chain import Chain
from node.consensus.config import Config
from node.consensus.journal import JournalRecord
from node.home.repair import CORE_LOG
from node.measurements import NOT_MEASURED, Measurements
from node.replica.corelog import NO_CORE_LOG, CoreLog
from node.replica.driver import Driver
from node.replica.engine import Engines
from node.replica.journal import Journal, VoteLogJournal
from node.replica.mempool import Mempool
from node.replica.reporter import Reporter
from node.storage.snapshotstore import SnapshotStore
from node.storage.store import Store
from node.storage.votelog import COMPACTION_SIZE
from node.sync.host import SyncParts, SyncTuning
from node.sync.prevalidation import Checker

START_MS = 1_800_000_000_000
VALIDATORS = ("hk-bureau", "hk-operator", "mainland-bank", "sz-operator")
FIVE = ("hk-bank", *VALIDATORS)
SIDES = {
    "hk-bank": "HK",
    "hk-bureau": "HK",
    "hk-operator": "HK",
    "mainland-bank": "CN",
    "sz-operator": "CN",
}


def private_key(name: str) -> PrivateKey:
    """Return the key of a name: the same in every run."""
    return PrivateKey.from_seed(random.Random(name).randbytes(32))


def make_genesis(validators: Sequence[str] = VALIDATORS) -> Genesis:
    """Return a genesis of these validators; every one of them governs and issues."""
    members = tuple(
        GenesisMember(
            id=member,
            name_zh_hans=member,
            name_zh_hant=member,
            name_en=member,
            jurisdiction=SIDES[member],
            roles=("governor", "issuer", "recipient"),
            key=private_key(f"{member} member").public,
            next_key=next_key_commitment(private_key(f"{member} next").public),
            node=GenesisNode(
                "validator",
                private_key(f"{member} validator").public,
                next_key_commitment(private_key(f"{member} next validator").public),
                b"certificate of " + member.encode(),
            ),
        )
        for member in validators
    )
    parameters = Parameters(2**21, 10_000, 4_000, 3_600_000, 366 * 86_400_000, 1, 0)
    content = GenesisContent(
        GENESIS_VERSION,
        1,
        "test",
        DEVELOPMENT,
        ("CN", "HK"),
        START_MS,
        parameters,
        members,
        (GenesisSchema("hk.credit-report", 0, None),),
        (GenesisPurpose("consumer-credit.loan", (bytes(32),)),),
    )
    return sign_genesis(content, {member: private_key(f"{member} member") for member in validators})


def sign(genesis: Genesis, sender: str, now_ms: int, *operations: Operation) -> Transaction:
    """Return a member's signed transaction."""
    body = TransactionBody(genesis.content.chain_id, sender, now_ms + 60_000, operations)
    return Transaction.sign(body, private_key(f"{sender} member"))


def anchor_transaction(genesis: Genesis, number: int, now_ms: int, sender: str = "hk-bureau") -> Transaction:
    """Return a signed transaction that anchors a batch of its own."""
    root = random.Random(number).randbytes(32)
    return sign(genesis, sender, now_ms, AnchorBatch(root, 1, "hk.credit-report", None))


@dataclass(slots=True)
class World:
    """Virtual time and wires between the nodes."""

    directory: Path
    delay_ms: int = 5
    genesis: Genesis = field(default_factory=make_genesis)
    now_ms: int = 0
    queue: list[tuple[int, int, str, str, bytes]] = field(default_factory=list)
    count: int = 0
    nodes: dict[str, "WorldNode"] = field(default_factory=dict)
    tuning: SyncTuning = field(default_factory=SyncTuning)
    interval: int = SNAPSHOT_INTERVAL
    chunk_size: int = CHUNK_LEAVES_SIZE
    # When vote logs are rewritten (bytes).
    compaction_size: int = COMPACTION_SIZE
    # How large the segments of core logs are (bytes), where they are kept.
    segment_size_max: int | None = None
    # Who checks signatures ahead for nodes that start from here on.
    checker: Checker | None = None
    # Who is told what nodes that start from here on measure.
    measurements: Measurements = NOT_MEASURED
    # Messages that a test changes or drops on the wire: source, target, data to data or None.
    meddle: Callable[[str, str, bytes], bytes | None] = lambda _source, _target, data: data
    # Messages that the wire loses, whatever is meddled with.
    is_lost: Callable[[str, str, bytes], bool] = lambda _source, _target, _data: False
    # Who may be called a liar by whom, because the test makes it one.
    liars: set[str] = field(default_factory=set)
    punished: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def pins(self) -> Pins:
        """What every node trusts: genesis."""
        return Pins(TrustedRoot(TRUST_VERSION, self.genesis, ()))

    def start(self, member: str) -> "WorldNode":
        """Start a node from what its directory holds, and connect it."""
        node = WorldNode(self, member)
        self.nodes[member] = node
        node.driver.start()
        for other in list(self.nodes.values()):
            if other is not node:
                other.driver.peer_up(member)
                node.driver.peer_up(other.member)
        return node

    def kill(self, member: str) -> None:
        """End a node without a word; its files stay."""
        node = self.nodes.pop(member)
        node.close()
        for other in self.nodes.values():
            other.driver.peer_down(member)

    def deliver(self, source: str, target: str, data: bytes) -> None:
        """Put a message on the wire."""
        self.count += 1
        if self.is_lost(source, target, data):
            return
        meddled = self.meddle(source, target, data)
        if meddled is not None:
            heapq.heappush(self.queue, (self.now_ms + self.delay_ms, self.count, source, target, meddled))

    def run(self, milliseconds: int) -> None:
        """Let virtual time pass."""
        end = self.now_ms + milliseconds
        while True:
            deadline = min((node.arm() for node in self.nodes.values()), default=end)
            upcoming = min(deadline, self.queue[0][0] if self.queue else end)
            if upcoming > end:
                break
            self.now_ms = max(self.now_ms + (upcoming <= self.now_ms and not self._is_due()), upcoming)
            if self.now_ms > end:
                break
            while self._is_due():
                _, _, source, target, data = heapq.heappop(self.queue)
                if source in self.nodes and target in self.nodes:
                    self.nodes[target].driver.receive(source, data)
            for node in list(self.nodes.values()):
                if node.arm() <= self.now_ms:
                    node.tick()
        self.now_ms = end

    def _is_due(self) -> bool:
        return bool(self.queue) and self.queue[0][0] <= self.now_ms

    def close(self) -> None:
        """End all nodes."""
        for member in list(self.nodes):
            self.kill(member)


class WorldNode:
    """One node over real files."""

    def __init__(self, world: World, member: str) -> None:
        self.world = world
        self.member = member
        self.skew_ms = 0
        self.refused: list[tuple[Transaction, LedgerError]] = []
        self.final: list[bytes] = []
        self.timer_ms: int | None = None
        home = world.directory / member
        self.store = Store.open(home / "chain", world.genesis)
        self.snapshot_store = SnapshotStore.open(home / "snapshots")
        self.engines = Engines(
            member=member,
            chain_id=world.genesis.content.chain_id,
            tuning=Config(),
            find_key=self._find_key,
            open_journal=self._open_journal,
        )
        self.core_log = self._make_core_log(home)
        self.driver = Driver(
            member=member,
            engines=self.engines,
            chain=Chain(self.store),
            mempool=Mempool(),
            transport=self,
            clock=self,
            on_final=self._became_final,
            on_refused=lambda transaction, error: self.refused.append((transaction, error)),
            on_failure=lambda _error: None,
            sync=SyncParts(
                world.pins,
                self.snapshot_store,
                world.tuning,
                interval=world.interval,
                chunk_size=world.chunk_size,
                checker=world.checker,
            ),
            core_log=self.core_log or NO_CORE_LOG,
            measurements=world.measurements,
        )
        self.reporter = Reporter(
            member=member,
            find_member_key=lambda: private_key(f"{member} member"),
            driver=self.driver,
            clock=self,
        )

    def _make_core_log(self, home: Path) -> CoreLog | None:
        size_max = self.world.segment_size_max
        if size_max is None:
            return None
        (home / "data").mkdir(exist_ok=True)
        return CoreLog(
            home / "data" / CORE_LOG,
            chain_id=self.world.genesis.content.chain_id,
            member=self.member,
            clock=self,
            segment_size_max=size_max,
        )

    def _find_key(self, key: PublicKey) -> PrivateKey | None:
        own = (private_key(f"{self.member} validator"), private_key(f"{self.member} next validator"))
        return next((each for each in own if each.public == key), None)

    def _open_journal(self, epoch: int, has_voted: bool) -> tuple[Journal, tuple[JournalRecord, ...]]:
        journal, records, _ = VoteLogJournal.open(
            self.world.directory / self.member / "votes",
            chain_id=self.world.genesis.content.chain_id,
            validator=self.member,
            epoch=epoch,
            has_voted=has_voted,
            compaction_size=self.world.compaction_size,
        )
        return journal, records

    def _became_final(self, path: list[Executed]) -> None:
        self.final += [each.id for executed in path for each in executed.block.transactions]

    def arm(self) -> int:
        """Return when the timer fires. Like a node's, it is moved forward only: a deadline is a moving target."""
        due_ms = self.driver.next_deadline_ms()
        self.timer_ms = due_ms if self.timer_ms is None else min(self.timer_ms, due_ms)
        return self.timer_ms

    def tick(self) -> None:
        """Do what is due, and report what was seen."""
        self.timer_ms = None
        self.driver.tick()
        self.reporter.report()

    def submit(self, transaction: Transaction) -> None:
        """Take a client's transaction."""
        self.driver.admit(transaction)
        self.driver.spread([transaction])

    def send(self, peer_id: str, data: bytes) -> bool:
        self.world.deliver(self.member, peer_id, data)
        return peer_id in self.world.nodes

    def broadcast(self, data: bytes) -> int:
        for other in self.world.nodes:
            if other != self.member:
                self.world.deliver(self.member, other, data)
        return len(self.world.nodes) - 1

    def disconnect(self, peer_id: str, reason: str, seconds: float) -> None:
        assert peer_id in self.world.liars, f"{self.member} disconnects honest {peer_id}: {reason}"
        self.world.punished.append((self.member, peer_id, reason))

    def wall_ms(self) -> int:
        return START_MS + 1_000 + self.world.now_ms + self.skew_ms

    def monotonic_ms(self) -> int:
        return self.world.now_ms

    def close(self) -> None:
        if self.core_log is not None:
            self.core_log.close()
        self.engines.close()
        self.driver.close()
        self.snapshot_store.close()
        self.store.close()
