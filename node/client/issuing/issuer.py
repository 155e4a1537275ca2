"""The issuer: documents in, one by one or in thousands; anchors in batches; a proof for each.

Rule 1: a document is in the register when `issue` returns: whatever crashes then, `open` goes on with it.
Rule 2: documents that come within `wait_ms` of the first, up to `documents_max`, share an anchor.
Rule 3: at most `waiting_max` documents wait for their anchors here (`node.client.issuing.waitingroom`).
Rule 4: what no quorum takes is tried again after a pause that doubles up to `pause_max_ms`; nothing is dropped.
Rule 5: what the ledger refuses fails the documents concerned with its reason, stays in the register, and is tried
again when the issuer is opened again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from ledger.proofs import Proof
from node.client.issuing.draft import Draft
from node.client.issuing.outbox import Outbox
from node.client.issuing.pendingproofs import PendingProofs
from node.client.issuing.register import Batch, Due, Issued, Refusal
from node.client.issuing.waitingroom import WaitingRoom
from node.clock import Clock
from node.errors import RefusedByNode, Unreachable

PROOFS_AT_ONCE: Final = 16

T = TypeVar("T")

Sleep = Callable[[int], Awaitable[None]]
"""Waits for that many milliseconds."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How documents become batches. Times in milliseconds.

    Longer waits make larger batches: more residents among whom each one's anchor is lost (docs/unlinkability.md).
    """

    wait_ms: int = 1_000
    documents_max: int = 10_000
    waiting_max: int = 100_000
    pause_ms: int = 500
    pause_max_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Issuance:
    """A document that is in the register, and the future of its proof.

    `proof` fails with RefusedByNode where the ledger says no. It may be left alone: `Issuer.proof` gives it later.
    """

    reference: str | None
    commitment: bytes
    proof: "asyncio.Future[Proof]"


async def sleep(duration_ms: int) -> None:
    """Wait in real time."""
    await asyncio.sleep(duration_ms / 1_000)


class Issuer:
    """A bureau's issuing, asynchronous. Use `open`, which starts and stops its two tasks."""

    def __init__(self, outbox: Outbox, clock: Clock, *, pacing: Pacing, sleep: Sleep) -> None:
        self._outbox = outbox
        self._register = outbox.register
        self._clock = clock
        self._pacing = pacing
        self._sleep = sleep
        self._pending = PendingProofs()
        self._refused: dict[bytes, RefusedByNode] = {}
        self._room = WaitingRoom(self._count_waiting, count_max=pacing.waiting_max)
        self._unwritable: set[int] = set()
        self._work = asyncio.Event()
        self._full = asyncio.Event()
        self._proving = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, outbox: Outbox, clock: Clock, *, pacing: Pacing | None = None, sleep: Sleep = sleep
    ) -> AsyncIterator["Issuer"]:
        """Go on with what the register holds, and take more. Leaving stops at once; nothing is lost by it."""
        issuer = cls(outbox, clock, pacing=pacing or Pacing(), sleep=sleep)
        issuer._resume()
        tasks = [asyncio.create_task(issuer._anchor_all()), asyncio.create_task(issuer._prove_all())]
        for task in tasks:
            task.add_done_callback(issuer._abandon)
        try:
            yield issuer
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            issuer._pending.cancel_all()

    # -- what a bureau asks -----------------------------------------------------------------------------

    async def issue(self, draft: Draft) -> Issuance:
        """Take one document. Returns once it is in the register, durably; waits while there is no room.

        The same draft under the same reference is the same document. Raises ReferenceTaken or LedgerError.
        """
        return (await self.issue_many([draft]))[0]

    async def issue_many(self, drafts: Sequence[Draft]) -> list[Issuance]:
        """Take documents, all or none, in one durable write."""
        await self._room.take(len(drafts))
        try:
            issued = await asyncio.to_thread(self._register.collect, drafts, now_ms=self._clock.wall_ms())
        finally:
            await self._leave_room(len(drafts))
        return [self._follow(each) for each in issued]

    async def correct(self, reference: str, draft: Draft) -> Issuance:
        """Issue a corrected document in place of the standing one, which is revoked as `superseded`.

        The proof comes when both are on the ledger. Raises RegisterError or LedgerError.
        """
        await self._room.take(1)
        try:
            now_ms = self._clock.wall_ms()
            issued = await asyncio.to_thread(self._register.supersede, reference, draft, now_ms=now_ms)
        finally:
            await self._leave_room(1)
        return self._follow(issued)

    async def revoke(self, reference: str, reason: str) -> None:
        """Revoke the standing document of a reference. Returns once the revocation is held, durably: see `settled`.

        Raises RegisterError.
        """
        issued = self._register.require(reference)
        await asyncio.to_thread(self._register.add_revocation, issued.commitment, reason)
        self._work.set()

    async def proof(self, reference: str) -> Proof:
        """Return the proof of the standing document, with evidence of now, when it is anchored.

        Raises RegisterError, or RefusedByNode where the ledger says no.
        """
        return await self._follow(self._register.require(reference)).proof

    async def settled(self) -> None:
        """Return once nothing waits: every document anchored, every revocation recorded, every proof given."""
        await self._room.wait_for(self._is_settled)

    async def erase(self, reference: str) -> bool:
        """Erase salt, opening and reference of the standing document; say whether there was one.

        What was written to its proof path is not touched. Raises RegisterError.
        """
        issued = self._register.find(reference)
        if issued is None:
            # It may be an erasure tried again: another program began to read before the log was cut.
            await asyncio.to_thread(self._register.cut_log)
            return False
        self._pending.cancel(issued.id)
        return await asyncio.to_thread(self._register.erase, issued.commitment)

    # -- anchoring --------------------------------------------------------------------------------------

    async def _anchor_all(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            if await self._gather():
                self._register.refuse_expired(self._clock.wall_ms())
                await asyncio.to_thread(self._register.form_batches, self._pacing.documents_max)
            for batch in self._waiting_batches():
                await self._try(batch.root, lambda batch=batch: self._outbox.anchor(batch))  # type: ignore[misc]
                await self._room.recount()
            for due in self._due_revocations():
                await self._try(due.commitment, lambda due=due: self._outbox.revoke(due))  # type: ignore[misc]
            await self._room.recount()
            self._proving.set()

    async def _gather(self) -> bool:
        """Wait for more documents after the first (rule 2). Say whether there is one.

        Where there is none no batch is formed: what another thread collects meanwhile has waited for nobody yet.
        """
        count = self._register.collected_count()
        self._full.clear()
        if not 0 < count < self._pacing.documents_max:
            return count > 0
        waits = [
            asyncio.ensure_future(self._sleep(self._pacing.wait_ms)),
            asyncio.ensure_future(self._full.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return True

    async def _try(self, name: bytes, step: Callable[[], Awaitable[object]]) -> None:
        """Perform a step until it is done or refused (rules 4 and 5)."""
        try:
            await self._reach(step)
        except RefusedByNode as error:
            self._refused[name] = error

    async def _reach(self, step: Callable[[], Awaitable[T]]) -> T:
        pause_ms = self._pacing.pause_ms
        while True:
            try:
                return await step()
            except Unreachable:
                await self._sleep(pause_ms)
                pause_ms = min(2 * pause_ms, self._pacing.pause_max_ms)

    def _waiting_batches(self) -> list[Batch]:
        return [batch for batch in self._register.waiting_batches() if batch.root not in self._refused]

    def _due_revocations(self) -> list[Due]:
        return [due for due in self._register.due_revocations() if due.commitment not in self._refused]

    # -- proofs -----------------------------------------------------------------------------------------

    async def _prove_all(self) -> None:
        while True:
            await self._proving.wait()
            self._proving.clear()
            unproven = self._unproven()
            for first in range(0, len(unproven), PROOFS_AT_ONCE):
                ready = map(self._ready, unproven[first : first + PROOFS_AT_ONCE])
                await asyncio.gather(*(self._prove(issued) for issued in ready if issued is not None))
                await asyncio.sleep(0)  # looking up those that are not ready must not hold up the others
            await self._room.notify()

    async def _prove(self, issued: Issued) -> None:
        try:
            proof = await self._reach(lambda: self._outbox.deliver(issued))
        except (RefusedByNode, OSError) as error:
            self._unwritable.add(issued.id)
            self._pending.fail(issued.id, error)
            return
        self._pending.resolve(issued.id, proof)

    def _unproven(self) -> list[int]:
        undelivered = [each for each in self._register.undelivered_ids() if each not in self._unwritable]
        return list(dict.fromkeys([*self._pending.ids(), *undelivered]))

    def _ready(self, identity: int) -> Issued | None:
        """Return a document whose proof can be had now. One that was refused is told so."""
        issued = self._register.document(identity)
        if issued.batch is None:
            if issued.refusal is not None:
                self._unwritable.add(identity)
                self._pending.fail(identity, _refused_before(issued.refusal))
            return None
        if issued.height is None:
            self._refuse(issued, self._register.batch(issued.batch).root)
            return None
        if issued.supersedes is not None:
            superseded = self._register.document(issued.supersedes).commitment
            if not self._register.is_revoked(superseded):
                self._refuse(issued, superseded)
                return None
        return issued

    def _refuse(self, issued: Issued, name: bytes) -> None:
        """Fail a document where what it waits for was refused."""
        error = self._refused.get(name)
        if error is not None:
            self._unwritable.add(issued.id)
            self._pending.fail(issued.id, error)

    # -- bookkeeping ------------------------------------------------------------------------------------

    def _resume(self) -> None:
        self._room.count()
        self._work.set()
        self._proving.set()

    def _follow(self, issued: Issued) -> Issuance:
        future = self._pending.future_of(issued.id)
        if self._room.error is not None:
            self._pending.fail(issued.id, self._room.error)
        (self._proving if issued.height is not None else self._work).set()
        return Issuance(issued.reference, issued.commitment, future)

    def _abandon(self, task: "asyncio.Task[None]") -> None:
        """Tell everybody who waits when a task broke: the disk failed, or we are wrong."""
        if task.cancelled():
            return
        error = self._room.error = task.exception()
        assert error is not None, "the tasks end by cancellation alone"
        self._pending.fail_all(error)
        self._told = asyncio.ensure_future(self._room.notify())

    async def _leave_room(self, count: int) -> None:
        await self._room.leave(count)
        if self._register.collected_count() >= self._pacing.documents_max:
            self._full.set()

    def _count_waiting(self) -> int:
        waiting = sum(batch.leaf_count for batch in self._waiting_batches())
        return waiting + self._register.collected_count()

    def _is_settled(self) -> bool:
        return self._room.is_empty and not self._due_revocations() and not self._unproven()


def _refused_before(refusal: Refusal) -> RefusedByNode:
    return RefusedByNode(
        code=refusal.code,
        where="document",
        expected="one that can be anchored",
        found=refusal.found,
        cure="Correct what was found, then `luohu issued retry`; or issue another document.",
    )
