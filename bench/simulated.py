"""A network of any number of validators on one machine: its time is simulated, its processor time is measured.

Rule 1: each validator has a core of its own. What its driver does for a message or a timer is measured, and keeps that
validator, and no other, busy for as long.
Rule 2: what it sends leaves when it is done, and arrives after half a round trip. Disks are real, their waiting
is not counted: `processor time` is what is measured.
"""

import heapq
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from ledger.chain.overlays import Executed
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.genesis import (
    DEVELOPMENT,
    Genesis,
    GenesisContent,
    GenesisMember,
    GenesisNode,
    GenesisPurpose,
    GenesisSchema,
    sign_genesis,
)
from ledger.rules.operations import AnchorBatch, next_key_commitment
from ledger.rules.transactions import Transaction, TransactionBody
from ledger.trust import TRUST_VERSION, Pins, TrustedRoot
from node.chain.chain import Chain
from node.consensus.config import Config
from node.consensus.journal import JournalRecord
from node.home.consortium import PARAMETERS
from node.replica.driver import Driver
from node.replica.engine import Engines
from node.replica.journal import Journal, VoteLogJournal
from node.replica.mempool import Mempool
from node.storage.snapshotstore import SnapshotStore
from node.storage.store import Store
from node.sync.host import SyncParts

START_MS: Final = 1_800_000_000_000
SCHEMA: Final = "hk.credit-report"


def key_of(name: str) -> PrivateKey:
    """Return the key of a name: the same in every run."""
    return PrivateKey.from_seed(random.Random(name).randbytes(32))


def genesis_of(members: Sequence[str]) -> Genesis:
    """Return a genesis of these validators, on both sides of the border; every one of them governs and issues."""
    content = GenesisContent(
        version=2,
        suite=1,
        network="bench",
        use=DEVELOPMENT,
        jurisdictions=("CN", "HK"),
        time_ms=START_MS,
        parameters=PARAMETERS,
        members=tuple(
            GenesisMember(
                id=member,
                name_zh_hans=member,
                name_zh_hant=member,
                name_en=member,
                jurisdiction="HK" if index % 2 else "CN",
                roles=("governor", "issuer", "recipient"),
                key=key_of(f"{member} member").public,
                next_key=next_key_commitment(key_of(f"{member} next").public),
                node=GenesisNode(
                    "validator",
                    key_of(f"{member} validator").public,
                    next_key_commitment(key_of(f"{member} next validator").public),
                    b"certificate of " + member.encode(),
                ),
            )
            for index, member in enumerate(members)
        ),
        schemas=(GenesisSchema(SCHEMA, 0, None),),
        purposes=(GenesisPurpose("consumer-credit.loan", (bytes(32),)),),
    )
    return sign_genesis(content, {member: key_of(f"{member} member") for member in members})


@dataclass(slots=True)
class Simulated:
    """The network: its clock in milliseconds, and what is to happen when."""

    directory: Path
    members: tuple[str, ...]
    round_trip_ms: float
    genesis: Genesis = field(init=False)
    now_ms: float = 0.0
    nodes: dict[str, "SimulatedNode"] = field(default_factory=dict)
    _events: list[tuple[float, int, "SimulatedNode", Callable[[], None] | None]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.genesis = genesis_of(self.members)

    def start(self) -> None:
        """Start every node, and connect them all."""
        for member in self.members:
            self.nodes[member] = SimulatedNode(self, member)
        for node in self.nodes.values():
            self.at(0.0, node, node.driver.start)
            for other in self.members:
                if other != node.member:
                    self.at(0.0, node, lambda node=node, other=other: node.driver.peer_up(other))  # type: ignore[misc]

    def at(self, when_ms: float, node: "SimulatedNode", action: Callable[[], None] | None) -> None:
        """Have a node do something at a time, or as soon as it is free after it; None is its timer."""
        heapq.heappush(self._events, (when_ms, next(self._numbers), node, action))

    def run(self, until: Callable[[], bool], limit_ms: float) -> None:
        """Let time pass until something holds. Raises TimeoutError where it does not within the limit."""
        end_ms = self.now_ms + limit_ms
        while not until():
            if not self._events or self._events[0][0] > end_ms:
                raise TimeoutError(f"nothing came of it in {limit_ms:.0f} ms of simulated time")
            when_ms, number, node, action = heapq.heappop(self._events)
            if node.free_ms > when_ms:
                heapq.heappush(self._events, (node.free_ms, number, node, action))
                continue
            self.now_ms = when_ms
            node.work(action)

    def close(self) -> None:
        """End all nodes."""
        for node in self.nodes.values():
            node.close()


class SimulatedNode:
    """One validator: the driver of any node, over real files."""

    def __init__(self, world: Simulated, member: str) -> None:
        self._world = world
        self.member = member
        self.free_ms = 0.0
        self.cpu_ms = 0.0
        self.final: dict[bytes, float] = {}
        self._timer_ms: float | None = None
        self._outgoing: list[tuple[str, bytes]] = []
        home = world.directory / member
        self.store = Store.open(home / "chain", world.genesis)
        self._snapshot_store = SnapshotStore.open(home / "snapshots")
        self._engines = Engines(
            member=member,
            chain_id=world.genesis.content.chain_id,
            tuning=Config(),
            find_key=self._find_key,
            open_journal=self._open_journal,
        )
        self.driver = Driver(
            member=member,
            engines=self._engines,
            chain=Chain(self.store),
            mempool=Mempool(),
            transport=self,
            clock=self,
            on_final=self._became_final,
            on_refused=lambda _transaction, error: self._fail(error),
            on_failure=lambda _error: None,
            sync=SyncParts(Pins(TrustedRoot(TRUST_VERSION, world.genesis, ())), self._snapshot_store),
        )

    def work(self, action: Callable[[], None] | None) -> None:
        """Do something, measure it, and send what came of it when it is done."""
        if action is None and self._timer_ms is None:
            return
        if action is None:
            self._timer_ms = None
        began = time.process_time()
        (action or self.driver.tick)()
        spent_ms = 1_000 * (time.process_time() - began)
        self.cpu_ms += spent_ms
        self.free_ms = self._world.now_ms + spent_ms
        arrival_ms = self.free_ms + self._world.round_trip_ms / 2
        for target, data in self._outgoing:
            node = self._world.nodes[target]
            self._world.at(arrival_ms, node, partial(node.driver.receive, self.member, data))
        self._outgoing.clear()
        due_ms = float(self.driver.next_deadline_ms())
        if self._timer_ms is None or due_ms < self._timer_ms:
            self._timer_ms = due_ms
            self._world.at(max(due_ms, self.free_ms), self, None)

    def submit(self, transactions: Sequence[Transaction]) -> None:
        """Take a client's transactions."""
        self.driver.spread([each for each in transactions if self.driver.admit(each)])

    def send(self, peer_id: str, data: bytes) -> bool:
        self._outgoing.append((peer_id, data))
        return True

    def broadcast(self, data: bytes) -> int:
        others = [other for other in self._world.members if other != self.member]
        self._outgoing += [(other, data) for other in others]
        return len(others)

    def disconnect(self, peer_id: str, reason: str, seconds: float) -> None:
        self._fail(RuntimeError(f"{self.member} disconnects {peer_id} for {seconds} s: {reason}"))

    def wall_ms(self) -> int:
        return START_MS + 1_000 + self.monotonic_ms()

    def monotonic_ms(self) -> int:
        return int(self._world.now_ms)

    def close(self) -> None:
        """Close what is open."""
        self._engines.close()
        self.driver.close()
        self._snapshot_store.close()
        self.store.close()

    @staticmethod
    def _fail(error: Exception) -> None:
        raise error

    def _became_final(self, path: list[Executed]) -> None:
        for executed in path:
            for transaction in executed.block.transactions:
                self.final[transaction.id] = self._world.now_ms

    def _find_key(self, key: PublicKey) -> PrivateKey | None:
        own = key_of(f"{self.member} validator")
        return own if own.public == key else None

    def _open_journal(self, epoch: int, has_voted: bool) -> tuple[Journal, tuple[JournalRecord, ...]]:
        journal, records, _ = VoteLogJournal.open(
            self._world.directory / self.member / "votes",
            chain_id=self._world.genesis.content.chain_id,
            validator=self.member,
            epoch=epoch,
            has_voted=has_voted,
        )
        return journal, records


def anchors(world: Simulated, sender: str, count: int, source: random.Random) -> list[Transaction]:
    """Return signed transactions of one anchor each."""
    valid_until_ms = START_MS + int(world.now_ms) + 30 * 60_000
    return [
        Transaction.sign(
            TransactionBody(
                world.genesis.content.chain_id,
                sender,
                valid_until_ms,
                (AnchorBatch(source.randbytes(32), 1, SCHEMA, None),),
            ),
            key_of(f"{sender} member"),
        )
        for _ in range(count)
    ]
