"""A node in memory for tests of its routes: the real rules, real certificates, no consensus and no disk.

It makes a block of what is submitted at once, and certifies it with a quorum of the consortium's keys.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from prometheus_client import CollectorRegistry

from ledger.encoding.codec import decode
from ledger.encoding.records import union_from_value
from ledger.errors import LedgerError
from ledger.genesis import Genesis, genesis_block
from ledger.proofs import Evidence, EvidenceRequest, ProvenLeaf
from ledger.rules.blocks import Block
from ledger.rules.certificates import QuorumCertificate, ValidatorSet
from ledger.rules.operations import Grant, Operation, Withdraw
from ledger.rules.state import (
    VALIDATORS_KEY,
    Validators,
    find,
    require_members,
)
from ledger.rules.transactions import Transaction, TransactionError
from ledger.trees.statepages import prove
from ledger.trees.statetree import AbsenceProof, InclusionProof
from ledger.trust import FinalizedHeader, Handover, TrustPath
from node.api.server import Api
from node.api.service import FINAL, PENDING, REFUSED, NotHeld, ProvenValue, ServedTexts, Status, Submission
from node.api.turns import Turns
from node.condition import FIRST_BLOCK, Condition, Observations, Trouble, judge
from node.consent.textfolder import HeldTexts
from node.errors import NotReady
from node.evidence import DocumentsEvidence, DocumentsRequest, Prover
from node.histograms import measure_into
from node.version import release
from tests.support.consortium import (
    START_MS,
    Ledger,
    certify,
    key_of,
    make_content,
    make_genesis,
    make_transaction,
)

RELAY = "hk-operator"


@dataclass(slots=True)
class ManualClock:
    """Time that the test moves."""

    now_ms: int = START_MS

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


@dataclass(slots=True)
class MemoryNode:
    """A node whose every submission is final, or refused, at once."""

    clock: ManualClock = field(default_factory=ManualClock)
    waits_for: str | None = None
    lack: str | None = None
    # What it sees of itself, beside `waits_for`.
    observed: Observations = field(
        default_factory=lambda: Observations(member=RELAY, disk_free_size=1_000_000_000_000)
    )
    is_holding: bool = False
    fails: BaseException | None = None
    damaged: list[Exception] = field(default_factory=list)
    missing: tuple[int, int] | None = None
    own_genesis: Genesis = field(default_factory=make_genesis)
    ledger: Ledger = field(default_factory=Ledger.start)
    certificates: list[QuorumCertificate] = field(default_factory=list)
    handovers: list[Handover] = field(default_factory=list)
    submissions: dict[bytes, Submission] = field(default_factory=dict)
    requests: list[object] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    texts: HeldTexts = field(default_factory=HeldTexts)

    def find_texts(self, wanted: bytes) -> ServedTexts | None:
        found = self.texts.find(wanted)
        return None if found is None else ServedTexts(found.hash, found.encoded)

    @property
    def genesis(self) -> Genesis:
        return self.own_genesis

    def extend(self, *transactions: Transaction) -> list[tuple[Transaction, LedgerError]]:
        """Make the next block final; return what it refused."""
        self.clock.now_ms += 1_000
        executed, refused = self.ledger.build(*transactions, now_ms=self.clock.now_ms)
        certificate = certify(executed, signers=self._signers())
        self.ledger.tip = executed.tip()
        self.ledger.blocks.append(executed)
        self.certificates.append(certificate)
        if executed.block.header.is_seal:
            seal = FinalizedHeader(executed.block.encoded_header.encoded, certificate)
            self.handovers.append(Handover(seal, self._validators()))
        header = executed.block.header
        for transaction in executed.block.transactions:
            final = Submission(transaction.id, FINAL, header.height, header.time_ms)
            self.submissions[transaction.id] = final
        return refused

    @property
    def condition(self) -> Condition:
        """How it is: what it sees, and that it waits for something where a test says so."""
        condition = judge(self.observed)
        if self.waits_for is None:
            return condition
        waits = Trouble(FIRST_BLOCK, "it is not here", "Wait a moment.", waits_for=self.waits_for)
        return replace(condition, troubles=(waits, *condition.troubles))

    def _validators(self) -> ValidatorSet:
        """Return the set that decides the next block."""
        found = find(self.ledger.tip.state, Validators, VALIDATORS_KEY)
        assert found is not None
        return found.current

    def _signers(self) -> list[int]:
        """Return the places of three validators that have their first keys still, which are those that sign here."""
        listed = enumerate(self._validators().validators)
        return [place for place, each in listed if each.key == key_of(f"{each.member} validator").public][:3]

    async def notify(self) -> None:
        """Tell whoever waits for a height."""
        async with self.changed:
            self.changed.notify_all()

    def status(self) -> Status:
        header = self.ledger.tip.header
        return Status(
            version=release(),
            member=RELAY,
            kind="validator",
            epoch=header.epoch,
            chain_id=header.chain_id,
            height=header.height,
            block_hash=self.ledger.tip.encoded_header.hash,
            state_root=header.state_root,
            time_ms=header.time_ms,
            view=header.view + 1,
            finalized_view=header.view,
            is_voting=self.lack is None,
            is_amnesiac=False,
            peers_connected=("hk-bureau", "sz-operator"),
            mempool_count=0,
            mempool_size=0,
            condition=self.condition,
            observed_ms=self.clock.now_ms,
            lack=self.lack,
        )

    def was_damaged(self, error: Exception) -> None:
        self.damaged.append(error)

    async def submit(self, transactions: Sequence[bytes], *, wait_ms: int) -> list[Submission]:
        if self.fails is not None:
            raise self.fails
        results = [await self._submit(encoded) for encoded in transactions]
        await self.notify()
        return results

    async def _submit(self, encoded: bytes) -> Submission:
        try:
            transaction = Transaction.decode(encoded)
        except LedgerError as error:
            return Submission(b"", REFUSED, error=error)
        if transaction.id in self.submissions:
            return self.submissions[transaction.id]
        if self.is_holding:
            return Submission(transaction.id, PENDING)
        refused = self.extend(transaction)
        if refused:
            return Submission(transaction.id, REFUSED, error=refused[0][1])
        return self.submissions[transaction.id]

    async def relay(self, operations: Sequence[bytes], *, wait_ms: int) -> Submission:
        decoded = [cast(Operation, union_from_value(Operation, decode(each))) for each in operations]
        for operation in decoded:
            if not isinstance(operation, Grant | Withdraw):
                raise TransactionError(
                    where="relayed operation", expected="a grant or a withdrawal", found=operation.TAG
                )
        transaction = make_transaction(RELAY, *decoded, valid_until_ms=self.clock.now_ms + 60_000)
        return (await self.submit([transaction.encoded], wait_ms=wait_ms))[0]

    def find_submission(self, transaction_id: bytes) -> Submission | None:
        return self.submissions.get(transaction_id)

    def evidence(self, request: EvidenceRequest) -> Evidence:
        self.requests.append(request)
        return self._prover().evidence(request, self._certified(), self._path())

    async def documents_evidence(self, request: DocumentsRequest) -> DocumentsEvidence:
        self.requests.append(request)
        at, path, turn = self._certified(), self._path(), Turns().turn
        return await self._prover().documents_evidence(request, at, path, turn=turn)

    def _prover(self) -> Prover:
        return Prover(self.ledger.tip.state, self.ledger.tip.header.state_root)

    def member_ids(self) -> tuple[str, ...]:
        return require_members(self.ledger.tip.state).ids

    def prove(self, key: bytes) -> ProvenValue:
        at, path, proof = self._certified(), self._path(), self._proof(key)
        if isinstance(proof, AbsenceProof):
            return ProvenValue(None, None, proof, at, path)
        value = self.ledger.tip.state.find_value(key)
        assert value is not None
        return ProvenValue(value, ProvenLeaf(value, proof), None, at, path)

    def _path(self) -> TrustPath:
        return TrustPath(0, tuple(self.handovers[: self.ledger.tip.header.epoch]), None)

    def _proof(self, key: bytes) -> InclusionProof | AbsenceProof:
        return prove(self.ledger.tip.state, self.ledger.tip.header.state_root, key)

    def _certified(self) -> FinalizedHeader:
        if not self.certificates:
            raise NotReady(found="no block is final yet")
        return FinalizedHeader(self.ledger.tip.encoded_header.encoded, self.certificates[-1])

    def find_block(self, height: int) -> Block | None:
        if self.missing is not None and self.missing[0] <= height < self.missing[1]:
            raise NotHeld(where="block", expected="another height", found=f"{height}")
        if height == 0:
            return genesis_block(make_content()).block
        return self.ledger.blocks[height - 1].block if height <= len(self.ledger.blocks) else None

    def find_certificate(self, height: int) -> QuorumCertificate | None:
        found = self.certificates[max(height, 1) - 1 :]
        return found[0] if found else None

    async def wait_for_height(self, height: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.ledger.tip.header.height >= height)


@asynccontextmanager
async def serve(node: MemoryNode, *, idle_s: float = 20.0) -> AsyncIterator[str]:
    """Serve a node on a free loopback port, and yield its URL. Each time it counts from nothing, like a process."""
    node.registry = CollectorRegistry()
    measure_into(node.registry)
    api = Api(node, clock=node.clock, idle_s=idle_s)
    port = await api.start("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await api.close()
