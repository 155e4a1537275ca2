"""A chain written into a store through the rules and the storage, without a network: what large states are made by.

Rule 1: every block is built by the leader of its view on the stored state, certified by a quorum of the development
keys and committed in a synced batch, exactly as a running network leaves it, with the snapshots
that come due.
Rule 2: the other validators get the same files, and each a vote log of its own, as if it had run all along.
"""

import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.chain.execution import build_block
from ledger.chain.overlays import Executed
from ledger.rules.certificates import FINALIZE, VOTE_TAGS, QuorumCertificate, SignedBy, Subject
from ledger.rules.leaders import leader_index
from ledger.rules.operations import AnchorBatch
from ledger.rules.state import require_validators
from ledger.rules.transactions import Transaction, TransactionBody, VerifiedTransactions
from node.consent.scenarios import load_scenarios, scenarios_directory
from node.home.consortium import LOOPBACK, NODES_COUNT, Network, new_network
from node.home.development import development_key
from node.home.home import Home
from node.home.repair import CHAIN, SNAPSHOTS, VOTES
from node.replica.journal import VoteLogJournal
from node.storage.leveldb import LevelDatabase
from node.storage.snapshotstore import SnapshotStore
from node.storage.store import Store
from node.sync.making import SnapshotMaker

VALIDATORS: Final = ("hk-bureau", "hk-operator", "mainland-bank", "sz-operator")
SENDER: Final = "hk-bureau"
SCHEMA: Final = "hk.credit-report"
BLOCKS_PER_COMMIT: Final = 8
IMMUTABLE_SUFFIX: Final = ".ldb"
TABLES_END: Final = b"\xff"
"""Above every key: each begins with the letter of its table."""
PORT_MIN: Final = 10_000
PORT_END: Final = 30_000


@dataclass(frozen=True, slots=True)
class Shape:
    """How records lie in blocks: so many transactions of so many anchors in each."""

    transactions_per_block: int
    operations_per_transaction: int

    @property
    def records_per_block(self) -> int:
        """How many records a block holds."""
        return self.transactions_per_block * self.operations_per_transaction


class StoredChain:
    """The open store of one home, and the newest block of its chain."""

    def __init__(self, network: Network, home: Home, *, blocks_count: int) -> None:
        """Open a store. Its blocks are dated so that `blocks_count` of them end now."""
        self._store = Store.open(home.data / CHAIN, network.genesis)
        self._snapshot_store = SnapshotStore.open(home.data / SNAPSHOTS)
        self._snapshots = SnapshotMaker(self._store, self._snapshot_store)
        self._tip = self._store.tip()
        validators = require_validators(self._store).current
        self._validators = validators
        self._keys = [development_key(each.member, "validator") for each in validators.validators]
        self._source = random.Random(f"records of {home.member}")
        self._now_ms = max(self._tip.header.time_ms, time.time_ns() // 1_000_000 - 2 * blocks_count - 1_000)
        self._path: list[Executed] = []

    def close(self) -> None:
        """Close store and snapshot_store."""
        self._snapshot_store.close()
        self._store.close()

    @property
    def height(self) -> int:
        """The height of the newest block."""
        return self._tip.header.height

    def extend(self, shape: Shape) -> None:
        """Build a block of fresh anchors on the newest one; commit when enough of them wait."""
        self.extend_with([self._transaction(shape) for _ in range(shape.transactions_per_block)])

    def extend_with(self, transactions: Sequence[Transaction]) -> None:
        """Build a block of these transactions on the newest one; commit when enough of them wait."""
        self._now_ms += 1
        view = self._tip.header.view + 1
        leader = leader_index(epoch=0, view=view, validators_count=len(self._validators))
        executed, refused = build_block(
            self._tip,
            transactions,
            view=view,
            proposer=self._validators.validators[leader].member,
            now_ms=self._now_ms,
            verified=VerifiedTransactions(),
        )
        if refused:
            raise refused[0][1]
        self._path.append(executed)
        self._tip = executed.tip()
        if len(self._path) >= BLOCKS_PER_COMMIT:
            self.commit()

    def commit(self) -> None:
        """Make what waits final, under a certificate of the last block."""
        if self._path:
            self._snapshots.before_commit(self._path)
            self._store.commit(self._path, self._certificate())
            while self._snapshots.step():
                pass
            self._path.clear()
            self._tip = self._store.tip()

    def fill(self, records_count: int, shape: Shape, on_progress: Callable[[float], None]) -> None:
        """Record that many anchors, and commit."""
        for recorded in range(0, records_count, shape.records_per_block):
            self.extend(shape)
            on_progress((recorded + shape.records_per_block) / records_count)
        self.commit()

    def _transaction(self, shape: Shape) -> Transaction:
        operations = tuple(
            AnchorBatch(self._source.randbytes(32), 1, SCHEMA, None)
            for _ in range(shape.operations_per_transaction)
        )
        body = TransactionBody(self._tip.header.chain_id, SENDER, self._now_ms + 60_000, operations)
        return Transaction.sign(body, development_key(SENDER, "member"))

    def _certificate(self) -> QuorumCertificate:
        header = self._tip.header
        subject = Subject(FINALIZE, 0, header.view, header.view - 1, self._tip.encoded_header.hash)
        body = subject.body(header.chain_id)
        signers = self._keys[: self._validators.quorum]
        return QuorumCertificate(
            subject,
            tuple(SignedBy(index, key.sign(VOTE_TAGS[FINALIZE], body)) for index, key in enumerate(signers)),
        )


def spread(network: Network, *, source: Home) -> None:
    """Give every validator the source's store, and a vote log as though it had run all along."""
    settle(source.data / CHAIN)
    for member in VALIDATORS:
        home = network.homes[member]
        home.data.mkdir(parents=True, exist_ok=True)
        if home.member != source.member:
            copy_database(source.data / CHAIN, home.data / CHAIN)
            copy_database(source.data / SNAPSHOTS, home.data / SNAPSHOTS)
        journal, _, _ = VoteLogJournal.open(
            home.data / VOTES,
            chain_id=network.genesis.content.chain_id,
            validator=member,
            epoch=0,
            has_voted=False,
        )
        journal.close()


def settle(path: Path) -> None:
    """Have a closed database merge what it put off: who loads a million records at once leaves minutes of it behind.

    A network that recorded them in its own time would have merged them long ago.
    """
    with closing(LevelDatabase.open(path)) as database:
        # Named in full: plyvel takes a bound that is left out for the empty key, and merges nothing.
        database._database.compact_range(start=b"", stop=TABLES_END)


def copy_database(source: Path, target: Path) -> None:
    """Copy a closed database. Its tables never change once written, so they are shared.

    A table younger than the newest manifest is none of the database's: what a compaction left that the closing cut
    short. Its number is given again when the copies are opened, and then all of them would write into the one file.
    """
    target.mkdir(parents=True)
    manifest_ns = max(path.stat().st_mtime_ns for path in source.glob("MANIFEST-*"))
    for path in sorted(source.iterdir()):
        if path.suffix == IMMUTABLE_SUFFIX:
            if path.stat().st_mtime_ns <= manifest_ns:
                os.link(path, target / path.name)
        elif path.name != "LOCK":
            shutil.copyfile(path, target / path.name)


def fresh_network(directory: Path) -> Network:
    """Write a development network on ports that are free, and stay so while a chain is made for it."""
    return new_network(
        directory,
        development=True,
        passphrase=None,
        base_port=_base_port(),
        random=random.SystemRandom().randbytes,
        now_ms=time.time_ns() // 1_000_000,
        scenarios=load_scenarios(scenarios_directory()),
    )


def _base_port() -> int:
    """Return the first of as many free ports as a network needs, below those that connections are given."""
    source = random.SystemRandom()
    while True:
        first = source.randrange(PORT_MIN, PORT_END - 2 * NODES_COUNT)
        with ExitStack() as held:
            try:
                for port in range(first, first + 2 * NODES_COUNT):
                    held.enter_context(socket.socket()).bind((LOOPBACK, port))
            except OSError:
                continue
            return first
