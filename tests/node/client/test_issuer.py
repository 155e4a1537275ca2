"""The issuer: batches by time and count, room, pauses, futures, and going on after a stop. Time is the test's."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.proofs import Proof
from ledger.rules.transactions import Transaction
from node.api.service import PENDING, Submission
from node.client.issuing.blocking import BlockingIssuer
from node.client.issuing.draft import draft_of_file, proof_path_of
from node.client.issuing.issuer import Issuer, Pacing
from node.client.issuing.register import Batch, ReferenceTaken, Register, RegisterError
from node.client.nodes import Nodes
from node.errors import RefusedByNode
from tests.node.client.test_issuing import (
    HOLDER,
    ISSUER,
    TRUST,
    VERIFIER,
    Bureau,
    Served,
    log_of,
    opened,
    operations_of,
)
from tests.support.consortium import REPORT, START_MS, member_key_of
from tests.support.crashing_disk import PowerCut
from tests.support.machine import PATIENCE_S
from tests.support.memory_node import MemoryNode
from tests.support.office import served

TURNS_MAX = 20_000


class Pauses:
    """Sleeps that end when the test says; the clock moves by what was slept."""

    def __init__(self, node: MemoryNode) -> None:
        self.node = node
        self.slept: list[int] = []
        self._asleep: list[tuple[int, asyncio.Event]] = []

    async def sleep(self, duration_ms: int) -> None:
        self.slept.append(duration_ms)
        event = asyncio.Event()
        sleeper = (duration_ms, event)
        self._asleep.append(sleeper)
        try:
            await event.wait()
        finally:
            self._asleep.remove(sleeper)

    async def wake(self) -> None:
        """End the next sleep, as soon as there is one."""
        await until(lambda: bool(self._asleep))
        duration_ms, event = self._asleep[0]
        self.node.clock.now_ms += duration_ms
        event.set()
        await until(lambda: all(other is not event for _, other in self._asleep))


async def until(is_so: Callable[[], bool]) -> None:
    """Let the others run until something is so."""
    for _ in range(TURNS_MAX):
        if is_so():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("this never happens")


@asynccontextmanager
async def opening(bureau: Bureau, register: Register, pauses: Pauses, **pacing: int) -> AsyncIterator[Issuer]:
    async with Served(bureau.nodes) as urls, Nodes.connect(urls) as nodes:
        outbox = bureau.outbox(register, nodes)
        async with Issuer.open(
            outbox, bureau.node.clock, pacing=Pacing(**pacing), sleep=pauses.sleep
        ) as issuer:
            yield issuer


def run(bureau: Bureau, story: Callable[[Issuer, Pauses], Awaitable[None]], **pacing: int) -> None:
    """Play a story with an open issuer."""

    async def play(register: Register) -> None:
        pauses = Pauses(bureau.node)
        async with opening(bureau, register, pauses, **pacing) as issuer:
            await asyncio.wait_for(story(issuer, pauses), timeout=PATIENCE_S)

    with opened(bureau) as register:
        asyncio.run(play(register))


def leaf_counts(bureau: Bureau) -> list[int]:
    return [
        operation.leaf_count  # type: ignore[union-attr]
        for executed in bureau.node.ledger.blocks
        for transaction in executed.block.transactions
        for operation in transaction.body.operations
        if operation.TAG == "anchor"
    ]


def test_documents_of_one_moment_share_an_anchor_and_each_future_gives_its_proof(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        drafts = [bureau.draft(f"{n}") for n in range(12)]
        made = [await issuer.issue(draft) for draft in drafts[:6]]
        made += await issuer.issue_many(drafts[6:])
        assert not any(each.proof.done() for each in made)
        await pauses.wake()
        proofs = [await each.proof for each in made]
        for draft, proof, issuance in zip(drafts, proofs, made, strict=True):
            bureau.verify(draft, proof)
            assert proof.opening.commitment() == issuance.commitment and issuance.reference == draft.reference
        await issuer.settled()
        assert pauses.slept == [1_500]

    run(bureau, story, wait_ms=1_500)
    assert leaf_counts(bureau) == [12]


def test_a_full_batch_does_not_wait(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        first = await issuer.issue(bureau.draft("first"))
        await until(lambda: pauses.slept == [1_000])
        made = await issuer.issue_many([bureau.draft(f"{n}") for n in range(4)])
        await asyncio.gather(first.proof, *(each.proof for each in made))
        await issuer.settled()

    run(bureau, story, documents_max=5)
    assert leaf_counts(bureau) == [5]


def test_a_document_that_comes_behind_the_count_waits_for_others_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bureau = Bureau(tmp_path, MemoryNode())
    form_batches = Register.form_batches

    def collect_and_form(register: Register, documents_max: int) -> list[Batch]:
        register.collect([bureau.draft("behind")], now_ms=START_MS)
        return form_batches(register, documents_max)

    monkeypatch.setattr(Register, "form_batches", collect_and_form)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        await asyncio.sleep(0.05)
        await issuer.issue(bureau.draft("another"))
        await pauses.wake()
        await issuer.settled()

    run(bureau, story)
    assert leaf_counts(bureau) == [2]


def test_who_brings_more_than_there_is_room_for_waits(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, MemoryNode(is_holding=True))

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        await issuer.issue_many([bureau.draft(f"{n}") for n in range(10)])
        one_more = asyncio.ensure_future(issuer.issue(bureau.draft("one more")))
        await pauses.wake()
        await until(lambda: len(pauses.slept) == 2)
        assert not one_more.done()
        bureau.node.is_holding = False
        await pauses.wake()
        late = await one_more
        await pauses.wake()
        bureau.verify(bureau.draft("one more"), await late.proof)

    run(bureau, story, waiting_max=10)
    assert leaf_counts(bureau) == [10, 1]


def test_more_than_there_is_room_for_at_all_is_taken_when_nothing_waits(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        made = await issuer.issue_many([bureau.draft(f"{n}") for n in range(11)])
        await asyncio.gather(*(each.proof for each in made))

    run(bureau, story, waiting_max=10, documents_max=11)


@pytest.mark.alone
def test_without_a_quorum_pauses_double_up_to_a_limit_and_then_all_goes_through(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, MemoryNode(is_holding=True))

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        made = await issuer.issue(bureau.draft("a"))
        for _ in range(6):
            await pauses.wake()
        assert pauses.slept[:6] == [1_000, 500, 1_000, 2_000, 4_000, 4_000]
        bureau.node.is_holding = False
        await pauses.wake()
        bureau.verify(bureau.draft("a"), await made.proof)
        await issuer.settled()

    run(bureau, story, pause_ms=500, pause_max_ms=4_000)
    assert operations_of(bureau.node) == ["anchor"]


def test_an_outage_longer_than_a_transaction_lives_is_survived_by_signing_anew(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, MemoryNode(is_holding=True))

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        made = await issuer.issue(bureau.draft("a"))
        await pauses.wake()
        await pauses.wake()
        bureau.node.extend()
        bureau.node.clock.now_ms += 3_600_000
        bureau.node.extend()
        bureau.node.is_holding = False
        await pauses.wake()
        bureau.verify(bureau.draft("a"), await made.proof)

    run(bureau, story)
    assert operations_of(bureau.node) == ["anchor"]


def test_what_was_taken_before_a_stop_is_anchored_after_it_and_its_proof_written(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, MemoryNode(is_holding=True))
    path = bureau.file("report.pdf")

    async def take(issuer: Issuer, pauses: Pauses) -> None:
        made = await issuer.issue(bureau.draft("a"))
        await issuer.issue(draft_of_file(path, schema=REPORT, holder_key=HOLDER, reference="file"))
        stopped.append(made.proof)

    async def go_on(issuer: Issuer, pauses: Pauses) -> None:
        await pauses.wake()
        await issuer.settled()
        bureau.verify(bureau.draft("a"), await issuer.proof("a"))

    stopped: list[asyncio.Future[Proof]] = []
    run(bureau, take)
    assert stopped[0].cancelled() and bureau.node.ledger.blocks == []
    bureau.node.is_holding = False
    run(bureau, go_on)
    assert leaf_counts(bureau) == [2]
    now_ms = bureau.node.clock.now_ms
    VERIFIER.verify_anchor(path.read_bytes(), proof_path_of(path).read_bytes(), now_ms=now_ms)


def test_the_same_document_again_is_one_document_and_a_taken_reference_is_refused(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        first, again = await issuer.issue_many([bureau.draft("a"), bureau.draft("a")])
        assert first.commitment == again.commitment and first.proof is again.proof
        with pytest.raises(ReferenceTaken):
            await issuer.issue(replace(bureau.draft("b"), reference="a"))
        await pauses.wake()
        proof = await first.proof
        late = await issuer.issue(bureau.draft("a"))
        assert (await late.proof).opening == proof.opening
        await issuer.settled()

    run(bureau, story)
    assert leaf_counts(bureau) == [1]


def test_a_corrections_proof_comes_when_the_old_document_is_revoked(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        old = await issuer.issue(bureau.draft("a"))
        await pauses.wake()
        await old.proof
        new = await issuer.correct("a", bureau.draft("a corrected"))
        await pauses.wake()
        bureau.verify(bureau.draft("a corrected"), await new.proof)
        assert operations_of(bureau.node) == ["anchor", "anchor", "revoke"]
        bureau.verify(bureau.draft("a corrected"), await issuer.proof("a"))
        with pytest.raises(RegisterError):
            await issuer.correct("unknown", bureau.draft("b"))

    run(bureau, story)


class HoldingRevocations(MemoryNode):
    """A node whose quorum takes anchors, and no revocation while it is held."""

    holds = False

    async def _submit(self, encoded: bytes) -> Submission:
        transaction = Transaction.decode(encoded)
        if self.holds and transaction.body.operations[0].TAG == "revoke":
            return Submission(transaction.id, PENDING)
        return await super()._submit(encoded)


def test_a_corrections_proof_is_not_given_while_the_old_document_stands(tmp_path: Path) -> None:
    node = HoldingRevocations()
    bureau = Bureau(tmp_path, node)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        made = await issuer.issue_many([bureau.draft("a"), bureau.draft("b")])
        await pauses.wake()
        await asyncio.gather(*(each.proof for each in made))
        node.holds = True
        new = await issuer.correct("a", bureau.draft("a corrected"))
        await pauses.wake()
        await until(lambda: pauses.slept[-1] == 500)
        assert operations_of(bureau.node) == ["anchor", "anchor"], "the revocation is what is tried again"
        bureau.verify(bureau.draft("b"), await issuer.proof("b"))
        assert not new.proof.done()
        node.holds = False
        await pauses.wake()
        bureau.verify(bureau.draft("a corrected"), await new.proof)

    run(bureau, story)
    assert operations_of(bureau.node) == ["anchor", "anchor", "revoke"]


def test_a_revoked_document_has_no_proof_any_more_and_its_neighbours_have(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        made = await issuer.issue_many([bureau.draft("a"), bureau.draft("b")])
        await pauses.wake()
        await asyncio.gather(*(each.proof for each in made))
        await issuer.revoke("a", "error")
        await issuer.settled()
        with pytest.raises(RefusedByNode) as refused:
            await issuer.proof("a")
        assert refused.value.code == "revoked"
        bureau.verify(bureau.draft("b"), await issuer.proof("b"))
        with pytest.raises(RegisterError):
            await issuer.revoke("unknown", "error")

    run(bureau, story)


def test_what_the_ledger_refuses_fails_those_documents_alone(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        bad = await issuer.issue(bureau.draft("bad", schema="hk.unheard-of"))
        soon_ms = START_MS + 1
        expired = await issuer.issue(bureau.draft("expired", schema="hk.public-notice", expires_ms=soon_ms))
        good = await issuer.issue(bureau.draft("good"))
        bureau.node.clock.now_ms = soon_ms
        await pauses.wake()
        bureau.verify(bureau.draft("good"), await good.proof)
        for each, code in ((bad, "unknown-schema"), (expired, "expired")):
            with pytest.raises(RefusedByNode) as refused:
                await each.proof
            assert refused.value.code == code
        await issuer.settled()

    run(bureau, story)


def test_an_erased_document_is_gone_and_whoever_waits_for_it_is_told(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        made, other = await issuer.issue_many([bureau.draft("a"), bureau.draft("b")])
        assert await issuer.erase("a") and not await issuer.erase("a")
        assert made.proof.cancelled()
        with pytest.raises(RegisterError):
            await issuer.proof("a")
        await pauses.wake()
        bureau.verify(bureau.draft("b"), await other.proof)

    run(bureau, story)
    assert leaf_counts(bureau) == [2]


def test_a_caller_that_gives_up_stops_nobody_else(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        given_up, kept = await issuer.issue_many([bureau.draft("a"), bureau.draft("b")])
        given_up.proof.cancel()
        await pauses.wake()
        await kept.proof
        bureau.verify(bureau.draft("a"), await issuer.proof("a"))

    run(bureau, story)


def test_a_proof_that_cannot_be_written_is_told_and_tried_again_after_the_next_start(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    path = tmp_path / "missing" / "a.proof"

    async def fail(issuer: Issuer, pauses: Pauses) -> None:
        made = await issuer.issue(bureau.draft("a", proof_path=path))
        await pauses.wake()
        with pytest.raises(OSError, match="missing"):
            await made.proof
        await issuer.settled()

    async def go_on(issuer: Issuer, pauses: Pauses) -> None:
        await issuer.settled()

    run(bureau, fail)
    path.parent.mkdir()
    run(bureau, go_on)
    bureau.verify(bureau.draft("a"), Proof.decode(path.read_bytes()))


def test_a_register_that_breaks_is_told_to_everybody_who_waits(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def play(register: Register) -> None:
        pauses = Pauses(bureau.node)
        async with opening(bureau, register, pauses) as issuer:
            made = await issuer.issue(bureau.draft("a"))
            register.crash_at = register.changes_count  # type: ignore[attr-defined]
            await pauses.wake()
            for waiting in (made.proof, issuer.settled(), issuer.issue(bureau.draft("b"))):
                with pytest.raises(PowerCut):
                    await waiting

    with opened(bureau) as register:
        asyncio.run(play(register))


# -- without a loop ------------------------------------------------------------------------------------------


def test_an_erasure_that_another_program_cut_short_is_finished_when_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bureau = Bureau(tmp_path)
    cut_log = Register.cut_log
    calls: list[bool] = []

    def interrupted(register: Register) -> None:
        calls.append(True)
        if len(calls) == 2:
            # The erasure is committed; its log is not cut yet.
            raise RegisterError(
                where=register.path,
                expected="to be its only user",
                found="another program reading it",
                cure="end it",
            )
        cut_log(register)

    async def story(issuer: Issuer, pauses: Pauses) -> None:
        await issuer.issue(bureau.draft("customer 4711"))
        monkeypatch.setattr(Register, "cut_log", interrupted)
        with pytest.raises(RegisterError):
            await issuer.erase("customer 4711")
        assert log_of(bureau) != b""
        assert not await issuer.erase("customer 4711")
        assert log_of(bureau) == b""

    run(bureau, story)


def test_code_without_a_loop_issues_corrects_revokes_and_erases_all_the_same(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    threads_before = threading.active_count()
    with served(bureau.node) as url, opened(bureau) as register, blocking(bureau, register, url) as issuer:
        first, second = issuer.issue_many([bureau.draft("a"), bureau.draft("b")])
        third = issuer.issue(bureau.draft("c"))
        bureau.verify(bureau.draft("a"), first.proof.result(30))
        bureau.verify(bureau.draft("c"), third.proof.result(30))
        corrected = issuer.correct("a", bureau.draft("a corrected"))
        bureau.verify(bureau.draft("a corrected"), corrected.proof.result(30))
        issuer.revoke("b", "error")
        issuer.settled()
        with pytest.raises(RefusedByNode, match="revoked"):
            issuer.proof("b")
        assert second.reference == "b" and issuer.erase("c") and not issuer.erase("c")
        with pytest.raises(RegisterError):
            issuer.proof("c")
        with pytest.raises(ReferenceTaken):
            issuer.issue(replace(bureau.draft("d"), reference="a"))
        bureau.verify(bureau.draft("a corrected"), issuer.proof("a"))
    assert threading.active_count() == threads_before


def test_leaving_without_a_loop_keeps_what_was_taken(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, MemoryNode(is_holding=True))
    with served(bureau.node) as url, opened(bureau) as register:
        with blocking(bureau, register, url) as issuer:
            left = issuer.issue(bureau.draft("a"))
        with pytest.raises(CancelledError):
            left.proof.result(30)
        bureau.node.is_holding = False
        with blocking(bureau, register, url) as issuer:
            bureau.verify(bureau.draft("a"), issuer.proof("a"))
    assert leaf_counts(bureau) == [1]


def blocking(bureau: Bureau, register: Register, url: str) -> AbstractContextManager[BlockingIssuer]:
    pacing = Pacing(wait_ms=1, pause_ms=1, pause_max_ms=1)
    return BlockingIssuer.open(
        register, [url], key=member_key_of(ISSUER), trust=TRUST, clock=bureau.node.clock, pacing=pacing
    )
