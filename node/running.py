"""A running node as its API sees it: submissions, proofs, blocks and status over driver and store.

Rule 1: a submission is answered from what is final, or from a refusal against final state; nothing else.
Rule 2: waiting submissions are bounded; past the bound a caller is told to come again.
Rule 3: evidence is read from one snapshot of the store, whose tip its own certificate finalizes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from prometheus_client import CollectorRegistry

from ledger.chain.overlays import Executed
from ledger.encoding.codec import decode
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import union_from_value
from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.proofs import Evidence, EvidenceRequest, ProvenLeaf
from ledger.rules.blocks import Block
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.operations import GRANT_BODY_SIZE_MAX, Grant, Operation, Withdraw
from ledger.rules.state import (
    OBSERVER,
    VALIDATOR,
    require_members,
    require_parameters,
)
from ledger.rules.transactions import OPERATIONS_MAX, Transaction, TransactionBody, TransactionError
from ledger.trees.statepages import prove
from ledger.trees.statetree import AbsenceProof
from ledger.trust import HANDOVERS_MAX, FinalizedHeader, Handover, TrustError, TrustPath
from node.api.service import FINAL, PENDING, REFUSED, NotHeld, ProvenValue, ServedTexts, Status, Submission
from node.api.turns import Turns
from node.clock import Clock
from node.consensus.startup import Participation
from node.consent.textfolder import NO_TEXTS, HeldTexts
from node.errors import MempoolError, NotReady
from node.evidence import DocumentsEvidence, DocumentsRequest, Prover
from node.measurements import NOT_MEASURED, Measurements
from node.replica.driver import Driver
from node.storage.store import ReadView, Store
from node.version import release
from node.watch import Watch

WAITING_MAX: Final = 20_000
ADMITTED_PER_TURN_MAX: Final = 32
RELAY_VALIDITY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A submission that is not settled: its id, and what will be its answer."""

    id: bytes
    answer: "asyncio.Future[Submission]"

    def settled(self) -> Submission:
        """Return the answer, or that there is none yet."""
        return self.answer.result() if self.answer.done() else Submission(self.id, PENDING)


class RunningNode:
    """Implements `node.api.service.NodeService` over a driver."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        member: str,
        driver: Driver,
        store: Store,
        clock: Clock,
        registry: CollectorRegistry,
        find_member_key: Callable[[], PrivateKey | None],
        peers_connected: Callable[[], tuple[str, ...]],
        watch: Watch,
        on_damage: Callable[[Exception], None] = lambda _error: None,
        measurements: Measurements = NOT_MEASURED,
        texts: HeldTexts = NO_TEXTS,
    ) -> None:
        self._genesis = genesis
        self._member = member
        self._driver = driver
        self._store = store
        self._clock = clock
        self.registry = registry
        self._measurements = measurements
        self._find_member_key = find_member_key
        self._peers_connected = peers_connected
        self._watch = watch
        self._texts = texts
        self._on_damage = on_damage
        self._version = release()
        self._waiting: dict[bytes, asyncio.Future[Submission]] = {}
        self._turns = Turns()
        self._height_changed = asyncio.Condition()
        self._notifications: set[asyncio.Task[None]] = set()

    @property
    def genesis(self) -> Genesis:
        """The genesis of this node's chain."""
        return self._genesis

    def find_texts(self, wanted: bytes) -> ServedTexts | None:
        """Return the text bundle of a hash, or one with a notice of that version."""
        found = self._texts.find(wanted)
        return None if found is None else ServedTexts(found.hash, found.encoded)

    # -- what the driver tells --------------------------------------------------------------------------

    def became_final(self, path: list[Executed]) -> None:
        """Answer whoever waits for a transaction of these blocks, or for their height."""
        for executed in path:
            header = executed.block.header
            for transaction in executed.block.transactions:
                self._answer(Submission(transaction.id, FINAL, header.height, header.time_ms))
        task = asyncio.get_running_loop().create_task(self._notify_height())
        self._notifications.add(task)
        task.add_done_callback(self._notifications.discard)

    def was_refused(self, transaction: Transaction, error: LedgerError) -> None:
        """Answer whoever waits for a transaction that does not apply to final state."""
        self._answer(Submission(transaction.id, REFUSED, error=error))

    def _answer(self, submission: Submission) -> None:
        future = self._waiting.pop(submission.id, None)
        if future is not None and not future.done():
            future.set_result(submission)

    async def _notify_height(self) -> None:
        async with self._height_changed:
            self._height_changed.notify_all()

    # -- submissions ------------------------------------------------------------------------------------

    async def submit(self, transactions: Sequence[bytes], *, wait_ms: int) -> list[Submission]:
        """Take transactions of members; wait up to `wait_ms` for them to be final. Never raises for input."""
        admitted: list[Transaction] = []
        results: list[Submission | _Waiting] = []
        try:
            for start in range(0, len(transactions), ADMITTED_PER_TURN_MAX):
                async with self._turns.turn():
                    began_ms = self._clock.monotonic_ms()
                    some = transactions[start : start + ADMITTED_PER_TURN_MAX]
                    results += [self._admit(encoded, admitted) for encoded in some]
                    spent_ms = self._clock.monotonic_ms() - began_ms
                    self._measurements.client_signatures(spent_ms / 1000)
                    # Where plenty waits, whoever brings more waits for longer (node/replica/intake.py, rule 4).
                    await asyncio.sleep(self._driver.rest_factor * spent_ms / 1000)
        finally:
            # Whoever asked may be gone: what was taken is on its way all the same.
            self._driver.spread(admitted)
        waiting = [result.answer for result in results if isinstance(result, _Waiting)]
        if waiting:
            await asyncio.wait(waiting, timeout=wait_ms / 1000)
        return [result if isinstance(result, Submission) else result.settled() for result in results]

    def _admit(self, encoded: bytes, admitted: list[Transaction]) -> "Submission | _Waiting":
        try:
            transaction = Transaction.decode(encoded)
        except LedgerError as error:
            return Submission(b"", REFUSED, error=error)
        try:
            known = self.find_submission(transaction.id)
            if known is not None and known.state == FINAL:
                return known
            if len(self._waiting) >= WAITING_MAX:
                expected = f"fewer than {WAITING_MAX} waiting transactions"
                raise MempoolError(
                    code="busy", expected=expected, found="that many", cure="wait a moment and send it again"
                )
            if self._driver.admit(transaction):
                admitted.append(transaction)
        except (LedgerError, MempoolError) as error:
            return Submission(transaction.id, REFUSED, error=error)
        future = self._waiting.get(transaction.id)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[transaction.id] = future
        return _Waiting(transaction.id, future)

    async def relay(self, operations: Sequence[bytes], *, wait_ms: int) -> Submission:
        """Carry one holder's encoded Grant and Withdraw operations in a transaction of this node's member.

        Raises LedgerError where they are anything else, NotReady where the node has no member key online.
        """
        key = self._find_member_key()
        if key is None:
            raise NotReady(found="this node relays nothing: it runs without its member's key")
        if not 1 <= len(operations) <= OPERATIONS_MAX:
            raise TransactionError(
                where="operations", expected=f"1 to {OPERATIONS_MAX}", found=f"{len(operations)}"
            )
        decoded = tuple(_decode_holders_operation(encoded) for encoded in operations)
        transaction = self._sign(decoded, key)
        return (await self.submit([transaction.encoded], wait_ms=wait_ms))[0]

    def _sign(self, operations: tuple[Operation, ...], key: PrivateKey) -> Transaction:
        body = TransactionBody(
            chain_id=self._genesis.content.chain_id,
            sender=self._member,
            valid_until_ms=self._clock.wall_ms() + self._validity_ms(),
            operations=operations,
        )
        return Transaction.sign(body, key)

    def _validity_ms(self) -> int:
        return min(RELAY_VALIDITY_MS, require_parameters(self._store).transaction_horizon_ms)

    def find_submission(self, transaction_id: bytes) -> Submission | None:
        """Return what is known of a transaction: final, or waiting here; None where it is unknown."""
        found = self._store.find_transaction(transaction_id)
        if found is not None:
            header = self._store.find_header(found[0])
            assert header is not None, "an indexed transaction has a block"
            return Submission(transaction_id, FINAL, found[0], header.header.time_ms)
        if self._driver.mempool.find(transaction_id) is not None:
            return Submission(transaction_id, PENDING)
        return None

    # -- proofs -----------------------------------------------------------------------------------------

    def evidence(self, request: EvidenceRequest) -> Evidence:
        """Return evidence for a proof. Raises LedgerError where anchor or consent are not recorded."""
        with self._store.read_view() as view:
            return self._prover(view).evidence(request, *self._shown_from(view, request.from_epoch))

    async def documents_evidence(self, request: DocumentsRequest) -> DocumentsEvidence:
        """Return evidence of many documents, all of one version of the state. Raises LedgerError or NotReady."""
        with self._store.read_view() as view:
            at, path = self._shown_from(view, request.from_epoch)
            return await self._prover(view).documents_evidence(request, at, path, turn=self._turns.turn)

    @staticmethod
    def _prover(view: ReadView) -> Prover:
        return Prover(view, view.tip().header.state_root)

    def _shown_from(self, view: ReadView, from_epoch: int) -> tuple[FinalizedHeader, TrustPath]:
        """Return the header of a version, and how trust reaches it. Raises TrustError or NotReady."""
        at = self._finalized_header(view.tip().encoded_header.encoded, view.tip_certificate())
        return at, self._trust_path(from_epoch, view.tip().header.epoch)

    def member_ids(self) -> tuple[str, ...]:
        """Return the ids of all members, in order."""
        return require_members(self._store).ids

    def prove(self, key: bytes) -> ProvenValue:
        """Return a leaf by its 32-byte state key, with its proof. Raises NotReady before the first block."""
        with self._store.read_view() as view:
            at, path = self._shown_from(view, 0)
            value, proof = view.find_value(key), prove(view, view.tip().header.state_root, key)
            if isinstance(proof, AbsenceProof):
                return ProvenValue(None, None, proof, at, path)
            assert value is not None, "a present leaf has a value"
            return ProvenValue(value, ProvenLeaf(value, proof), None, at, path)

    def _trust_path(self, from_epoch: int, to_epoch: int) -> TrustPath:
        """Return the handovers that lead from one epoch to another. Raises TrustError or NotReady."""
        if from_epoch > to_epoch:
            raise NotReady(found=f"this node is in epoch {to_epoch}, the pin in epoch {from_epoch}")
        if to_epoch - from_epoch > HANDOVERS_MAX:
            expected = f"a pin at most {HANDOVERS_MAX} epochs below {to_epoch}"
            raise TrustError(where="from_epoch", expected=expected, found=f"{from_epoch}")
        handovers = tuple(self._require_handover(epoch) for epoch in range(from_epoch, to_epoch))
        return TrustPath(from_epoch, handovers, None)

    def _require_handover(self, epoch: int) -> Handover:
        found = self._store.find_handover(epoch)
        assert found is not None, "an epoch that is over has a seal"
        return found

    @staticmethod
    def _finalized_header(header: bytes, certificate: QuorumCertificate | None) -> FinalizedHeader:
        if certificate is None:
            raise NotReady(found="no block is final yet")
        return FinalizedHeader(header, certificate)

    # -- blocks and status ------------------------------------------------------------------------------

    def find_block(self, height: int) -> Block | None:
        """Return a final block. Raises NotHeld where a snapshot stood in for it."""
        first, end = self._store.gap()
        if first <= height < end:
            raise NotHeld(
                where="block", expected=f"a height below {first} or from {end} on", found=f"{height}"
            )
        return self._store.load_block(height)

    def was_damaged(self, error: Exception) -> None:
        """Take note that what is stored cannot be read: the node stops."""
        self._on_damage(error)

    def find_certificate(self, height: int) -> QuorumCertificate | None:
        """Return the certificate of the lowest directly finalized block at or above `height`."""
        found = self._store.next_certificate(height)
        return None if found is None else found[1]

    async def wait_for_height(self, height: int) -> None:
        """Return once a block of this height is final."""
        async with self._height_changed:
            await self._height_changed.wait_for(lambda: self._store.tip().header.height >= height)

    def status(self) -> Status:
        """Return what an operator asks first."""
        tip = self._store.tip()
        first, end = self._store.gap()
        core = self._driver.core
        condition = self._watch.look()
        return Status(
            version=self._version,
            member=self._member,
            kind=OBSERVER if self._driver.engine.me is None else VALIDATOR,
            epoch=self._driver.engine.epoch,
            chain_id=tip.header.chain_id,
            height=tip.header.height,
            block_hash=tip.encoded_header.hash,
            state_root=tip.header.state_root,
            time_ms=tip.header.time_ms,
            view=core.current_view,
            finalized_view=core.finalized.view,
            is_voting=core.standing is Participation.VOTING,
            is_amnesiac=core.standing is Participation.OBSERVING,
            peers_connected=self._peers_connected(),
            mempool_count=self._driver.mempool.count,
            mempool_size=self._driver.mempool.size,
            sync=self._driver.sync.progress(self._clock.monotonic_ms()),
            missing_blocks=(first, end) if first < end else None,
            condition=condition,
            observed_ms=self._clock.wall_ms(),
            lack=None if self._driver.engine.lack is None else f"{self._driver.engine.lack}",
        )


def _decode_holders_operation(encoded: bytes) -> Operation:
    value = decode(encoded, size_max=GRANT_BODY_SIZE_MAX + 256)
    operation = cast(Operation, union_from_value(Operation, value))
    if not isinstance(operation, Grant | Withdraw):
        raise TransactionError(
            where="relayed operation", expected="a grant or a withdrawal", found=operation.TAG
        )
    return operation
