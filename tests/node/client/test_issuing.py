"""The register and the outbox: nothing is lost at any crash, nothing of it leaves, no node is believed."""

import asyncio
import math
import random
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ledger.commitments import DAY_MS
from ledger.encoding.records import pack
from ledger.errors import LedgerError
from ledger.proofs import Evidence, EvidenceRequest, Proof
from ledger.rules.operations import RevokeDocument
from ledger.rules.transactions import Transaction
from ledger.sets import UnfitSet
from ledger.trust import TrustedRoot
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from node.api.service import FINAL, REFUSED, Submission
from node.client.client import Client
from node.client.holder import refresh
from node.client.issuing.draft import (
    Draft,
    draft_of_bytes,
    draft_of_file,
    media_type_of,
    proof_path_of,
)
from node.client.issuing.outbox import Outbox, Settled
from node.client.issuing.register import ReferenceTaken, Register, RegisterError
from node.client.ledgerclient import FRESH_MS, LedgerClient
from node.client.nodes import BUSY_CODES, Nodes
from node.client.submission import VALIDITY_MS
from node.errors import MempoolError, RefusedByNode, Unreachable
from node.files.durablefile import POSIX_FILES, FileOperations
from tests.support.consortium import CHAIN_ID, NOTICE, REPORT, START_MS, key_of, make_genesis, member_key_of
from tests.support.crashing_disk import CrashingDisk, Loss, PowerCut
from tests.support.governors import suspend
from tests.support.memory_node import MemoryNode, serve

ISSUER = "hk-bureau"
HOLDER = key_of("holder").public
TRUST = TrustedRoot(1, make_genesis(), ())
VERIFIER = Verifier(TRUST)


class CrashingRegister(Register):
    """A register whose process ends at the nth change: before it is committed, or right after."""

    crash_at: float = math.inf
    changes_count: int = 0

    @contextmanager
    def change(self) -> Iterator[None]:
        place = self.changes_count
        with super().change():
            yield
            if place == self.crash_at:
                raise PowerCut
        self.changes_count += 1
        if place + 0.5 == self.crash_at:
            raise PowerCut


class Bureau:
    """An issuer's documents, register and the nodes that it uses."""

    def __init__(self, directory: Path, *nodes: MemoryNode, files: FileOperations = POSIX_FILES) -> None:
        self.directory = directory
        self.nodes = nodes or (MemoryNode(),)
        self.files = files
        self.path = directory / "data" / "issued.sqlite"

    @property
    def node(self) -> MemoryNode:
        return self.nodes[0]

    def draft(self, name: str, **changes: object) -> Draft:
        document = f"SAMPLE report {name}".encode()
        made = draft_of_bytes(
            document, media_type="application/pdf", schema=REPORT, holder_key=HOLDER, reference=name
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    def file(self, name: str) -> Path:
        path = self.directory / name
        path.write_bytes(f"SAMPLE file {name}".encode())
        return path

    def settle(self, register: Register, *, documents_max: int = 1_000) -> Settled:
        async def run() -> Settled:
            async with Served(self.nodes) as urls, Nodes.connect(urls) as nodes:
                return await self.outbox(register, nodes).settle(documents_max=documents_max)

        return asyncio.run(run())

    def settle_only(self, register: Register, ids: list[int]) -> Settled:
        async def run() -> Settled:
            async with Served(self.nodes) as urls, Nodes.connect(urls) as nodes:
                return await self.outbox(register, nodes).settle(only=ids)

        return asyncio.run(run())

    def prove(self, register: Register, reference: str) -> Proof:
        async def run() -> Proof:
            async with Served(self.nodes) as urls, Nodes.connect(urls) as nodes:
                return await self.outbox(register, nodes).prove(register.require(reference))

        return asyncio.run(run())

    def outbox(self, register: Register, nodes: Nodes) -> Outbox:
        key, clock = member_key_of(ISSUER), self.node.clock
        return Outbox(register, nodes, key=key, trust=TRUST, clock=clock, files=self.files)

    def verify(self, draft: Draft, proof: Proof) -> None:
        now_ms = max(node.clock.now_ms for node in self.nodes)
        VERIFIER.verify_anchor(draft.content, proof.encode(), now_ms=now_ms)


class WatchedNode(MemoryNode):
    """A node that remembers the bytes of every transaction sent to it."""

    seen: ClassVar[list[bytes]] = []

    async def _submit(self, encoded: bytes) -> Submission:
        self.seen.append(encoded)
        return await super()._submit(encoded)


@dataclass(slots=True)
class BusyNode(MemoryNode):
    """A node that has no room."""

    busy: str = "mempool-full"

    async def _submit(self, encoded: bytes) -> Submission:
        error = MempoolError(
            code=self.busy, expected="room for one more", found="no room", cure="send it again in a moment"
        )
        return Submission(Transaction.decode(encoded).id, REFUSED, error=error)


class LyingNode(MemoryNode):
    """A node that says that something is final which no quorum signed."""

    def extend(self, *transactions: Transaction) -> list[tuple[Transaction, LedgerError]]:
        refused = super().extend(*transactions)
        found = self.certificates[-1]
        self.certificates[-1] = replace(found, signatures=found.signatures[:-1])
        return refused


class DeafNode(MemoryNode):
    """A node that says of every transaction that it is final, and throws it away."""

    is_deaf: bool = False

    async def _submit(self, encoded: bytes) -> Submission:
        if not self.is_deaf:
            return await super()._submit(encoded)
        return Submission(Transaction.decode(encoded).id, FINAL, 999, START_MS)


class RefusingNode(MemoryNode):
    """A node that refuses to prove a document, for a reason that is none."""

    code: str | None = None

    def evidence(self, request: EvidenceRequest) -> Evidence:
        if self.code is None:
            return super().evidence(request)
        raise LedgerError(code=self.code, where="document", expected="anything", found="a lie")


class Served:
    """Serves nodes on loopback and yields their URLs."""

    def __init__(self, nodes: Sequence[MemoryNode]) -> None:
        self._served = [serve(node) for node in nodes]

    async def __aenter__(self) -> list[str]:
        return [await each.__aenter__() for each in self._served]

    async def __aexit__(self, *error: object) -> None:
        for each in self._served:
            await each.__aexit__(None, None, None)


@contextmanager
def opened(bureau: Bureau) -> Iterator[Register]:
    with CrashingRegister.open(bureau.path, chain_id=CHAIN_ID, issuer=ISSUER) as register:
        yield register


def log_of(bureau: Bureau) -> bytes:
    return bureau.path.with_name(bureau.path.name + "-wal").read_bytes()


def operations_of(node: MemoryNode) -> list[str]:
    return [
        operation.TAG
        for executed in node.ledger.blocks
        for transaction in executed.block.transactions
        for operation in transaction.body.operations
    ]


# -- the story ------------------------------------------------------------------------------------------------


def test_documents_collected_one_by_one_share_an_anchor_and_each_gets_its_own_path(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    drafts = [bureau.draft(f"customer {number}") for number in range(20)]
    with opened(bureau) as register:
        for draft in drafts:
            register.collect([draft], now_ms=bureau.node.clock.now_ms)
        settled = bureau.settle(register)
        assert [batch.leaf_count for batch in settled.anchored] == [20] and settled.anchored[0].height == 1
        proofs = [bureau.prove(register, f"customer {number}") for number in range(20)]
    for draft, proof in zip(drafts, proofs, strict=True):
        bureau.verify(draft, proof)
    assert {proof.batch.path.index for proof in proofs} == set(range(20))
    assert len({proof.opening.salt for proof in proofs}) == 20
    assert operations_of(bureau.node) == ["anchor"]


def test_each_schema_has_its_own_batches_of_bounded_size(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    drafts = [bureau.draft(f"{n}", schema=NOTICE if n % 2 else REPORT) for n in range(10)]
    with opened(bureau) as register:
        register.collect(drafts, now_ms=START_MS)
        settled = bureau.settle(register, documents_max=3)
    assert [(batch.schema, batch.leaf_count) for batch in settled.anchored] == [
        (REPORT, 3),
        (NOTICE, 3),
        (REPORT, 2),
        (NOTICE, 2),
    ]


def test_an_anchor_says_the_latest_expiry_only_where_every_document_has_one(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        later = [bureau.draft(f"{n}", expires_ms=START_MS + n * DAY_MS) for n in (3, 9, 5)]
        register.collect(later, now_ms=START_MS)
        assert bureau.settle(register).anchored[0].expires_ms == START_MS + 9 * DAY_MS
        register.collect(
            [bureau.draft("10", expires_ms=START_MS + DAY_MS), bureau.draft("11")], now_ms=START_MS
        )
        assert bureau.settle(register).anchored[0].expires_ms is None


def test_metadata_says_the_day_and_not_the_moment(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        (issued,) = register.collect([bureau.draft("a")], now_ms=START_MS + 12_345_678)
    assert issued.opening is not None
    said = issued.opening.decoded_metadata().issued_ms
    assert said % DAY_MS == 0 and 0 <= START_MS + 12_345_678 - said < DAY_MS


# -- shuffling ------------------------------------------------------------------------------------------------


def test_leaves_say_nothing_of_the_order_in_which_documents_were_issued(tmp_path: Path) -> None:
    bureau, count = Bureau(tmp_path), 2_000
    with opened(bureau) as register:
        issued = register.collect([bureau.draft(f"{n}") for n in range(count)], now_ms=START_MS)
        register.form_batches(count)
        leaves = [register.document(each.id).leaf for each in issued]
    assert sorted(leaf for leaf in leaves if leaf is not None) == list(range(count))
    # Spearman's rank correlation of independent orders has a standard deviation of 1/sqrt(n - 1): six of them
    # are exceeded once in five hundred million runs.
    squares = sum((leaf - n) ** 2 for n, leaf in enumerate(leaves) if leaf is not None)
    correlation = 1 - 6 * squares / (count * (count**2 - 1))
    assert abs(correlation) < 6 / math.sqrt(count - 1)
    # Neighbours in time are neighbours in the tree twice in n by chance: the count is Poisson with mean 2.
    adjacent = sum(abs(a - b) == 1 for a, b in pairwise(leaves) if a is not None and b is not None)
    assert adjacent < 20


def test_the_order_of_leaves_comes_from_no_generator_that_a_program_can_seed(tmp_path: Path) -> None:
    orders = []
    for attempt in range(2):
        bureau = Bureau(tmp_path / f"{attempt}")
        random.seed(1)
        with opened(bureau) as register:
            issued = register.collect([bureau.draft(f"{n}") for n in range(40)], now_ms=START_MS)
            register.form_batches(40)
            orders.append([register.document(each.id).leaf for each in issued])
    assert orders[0] != orders[1]


# -- references -----------------------------------------------------------------------------------------------


def test_the_same_draft_again_is_the_same_document_and_another_is_refused(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        (first,) = register.collect([bureau.draft("a")], now_ms=START_MS)
        (again,) = register.collect([bureau.draft("a")], now_ms=START_MS + DAY_MS)
        assert again == first
        other = replace(bureau.draft("b"), reference="a")
        for taken in (
            other,
            bureau.draft("a", expires_ms=START_MS + DAY_MS),
            bureau.draft("a", holder_key=None),
            bureau.draft("a", media_type="text/plain"),
            bureau.draft("a", schema=NOTICE),
        ):
            with pytest.raises(ReferenceTaken):
                register.collect([bureau.draft("c"), taken], now_ms=START_MS)
        assert register.collected_count() == 1 and register.find("c") is None, "all or none"


def test_documents_without_reference_are_each_their_own(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        made = register.collect([bureau.draft("a", reference=None)] * 2, now_ms=START_MS)
        assert made[0].commitment != made[1].commitment and register.collected_count() == 2


@pytest.mark.parametrize("length", [1, 256])
def test_a_reference_has_up_to_256_characters(length: int, tmp_path: Path) -> None:
    Bureau(tmp_path).draft("a", reference="客" * length)
    with pytest.raises(ValueError, match="1 to 256"):
        Bureau(tmp_path).draft("a", reference="客" * (257 if length > 1 else 0))


# -- corrections and revocations ------------------------------------------------------------------------------


def test_a_correction_is_anchored_then_the_old_document_is_revoked_and_its_proof_refused(
    tmp_path: Path,
) -> None:
    bureau = Bureau(tmp_path)
    wrong, right, other = bureau.draft("a"), bureau.draft("a corrected"), bureau.draft("b")
    with opened(bureau) as register:
        register.collect([wrong, other], now_ms=START_MS)
        bureau.settle(register)
        old, neighbour = bureau.prove(register, "a"), bureau.prove(register, "b")
        made = register.supersede("a", right, now_ms=START_MS)
        assert register.supersede("a", right, now_ms=START_MS) == made, (
            "the same correction again changes nothing"
        )
        assert made.reference == "a" and register.due_revocations() == [], (
            "not before the new one is anchored"
        )
        bureau.settle(register)
        assert operations_of(bureau.node) == ["anchor", "anchor", "revoke"]
        new = bureau.prove(register, "a")
        linked = register.require("a")
        assert linked.supersedes is not None
        superseded = register.document(linked.supersedes)
        assert superseded.is_superseded and superseded.commitment == old.opening.commitment()
        with pytest.raises(RefusedByNode) as refused:
            asyncio.run(reprove(bureau, register, superseded.commitment))
        assert refused.value.code == "revoked"
    bureau.verify(right, new)
    bureau.verify(other, neighbour)
    revocation = bureau.node.ledger.blocks[-1].block.transactions[0].body.operations[0]
    assert isinstance(revocation, RevokeDocument) and revocation.reason == "superseded"
    # The holder's old file shows the state of before, and no other can be had: it is of no use once it is stale.
    now_ms = bureau.node.clock.now_ms + DAY_MS + 1
    with pytest.raises(VerificationError) as old_refused:
        VERIFIER.verify_anchor(wrong.content, old.encode(), now_ms=now_ms)
    assert old_refused.value.code == "stale-proof"


async def reprove(bureau: Bureau, register: Register, commitment: bytes) -> Proof:
    found = register.find_commitment(commitment)
    assert found is not None
    async with Served(bureau.nodes) as urls, Nodes.connect(urls) as nodes:
        return await bureau.outbox(register, nodes).prove(found)


def test_one_document_is_revoked_without_the_others_of_its_batch(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    drafts = [bureau.draft(f"{n}") for n in range(5)]
    with opened(bureau) as register:
        register.collect(drafts, now_ms=START_MS)
        bureau.settle(register)
        register.add_revocation(register.require("2").commitment, "error")
        assert len(bureau.settle(register).revoked) == 1
        assert register.is_revoked(register.require("2").commitment)
        assert bureau.settle(register).revoked == (), "once"
        for number, draft in enumerate(drafts):
            if number == 2:
                with pytest.raises(RefusedByNode) as refused:
                    bureau.prove(register, "2")
                assert refused.value.code == "revoked"
            else:
                bureau.verify(draft, bureau.prove(register, f"{number}"))


def test_a_correction_of_what_nobody_issued_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        with pytest.raises(RegisterError, match="issued here"):
            register.supersede("a", bureau.draft("a"), now_ms=START_MS)
        assert register.collected_count() == 0


# -- crashes --------------------------------------------------------------------------------------------------


def issue_and_correct(bureau: Bureau, register: Register) -> None:
    """Do what a bureau does, from wherever a crash left it."""
    register.collect([bureau.draft("a"), bureau.draft("b")], now_ms=START_MS)
    bureau.settle(register)
    register.supersede("a", bureau.draft("a corrected"), now_ms=START_MS)
    bureau.settle(register)


def test_whichever_change_the_process_ends_at_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    undisturbed = Bureau(tmp_path / "undisturbed")
    with opened(undisturbed) as register:
        issue_and_correct(undisturbed, register)
        changes_count = register.changes_count  # type: ignore[attr-defined]
    assert changes_count > 8
    for half_steps in range(2, 2 * changes_count):  # the first change makes the tables
        bureau = Bureau(tmp_path / f"{half_steps}")
        with opened(bureau) as register:
            register.crash_at = half_steps / 2  # type: ignore[attr-defined]
            with pytest.raises(PowerCut):
                issue_and_correct(bureau, register)
        with opened(bureau) as register:
            corrected = register.find("a")
            if corrected is None or corrected.supersedes is None:
                issue_and_correct(bureau, register)
            bureau.settle(register)
            bureau.verify(bureau.draft("a corrected"), bureau.prove(register, "a"))
            bureau.verify(bureau.draft("b"), bureau.prove(register, "b"))
        assert sorted(operations_of(bureau.node)) == ["anchor", "anchor", "revoke"]


@pytest.mark.parametrize("loss", Loss)
def test_whenever_the_power_goes_every_proof_is_written_whole_in_the_end(loss: Loss, tmp_path: Path) -> None:
    for step in range(1, 6):
        directory = tmp_path / f"{step}"
        directory.mkdir()
        bureau = Bureau(directory, files=CrashingDisk(tmp_path, crash_at=step, loss=loss))
        path = bureau.file("report.pdf")
        with opened(bureau) as register:
            register.collect([draft_of_file(path, schema=REPORT, holder_key=HOLDER)], now_ms=START_MS)
            with pytest.raises(PowerCut):
                bureau.settle(register)
        bureau.files = POSIX_FILES
        with opened(bureau) as register:
            bureau.settle(register)
            assert register.undelivered_ids() == []
        proof = Proof.decode(proof_path_of(path).read_bytes())
        VERIFIER.verify_anchor(path.read_bytes(), proof.encode(), now_ms=bureau.node.clock.now_ms)
        assert operations_of(bureau.node) == ["anchor"]


def test_nothing_is_sent_before_it_is_in_the_register(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        register.crash_at = register.changes_count  # type: ignore[attr-defined]
        with pytest.raises(PowerCut):
            bureau.settle(register)
        assert register.waiting_batches() == [] and register.collected_count() == 1
    assert bureau.node.ledger.blocks == [] and bureau.node.requests == []


# -- nodes ----------------------------------------------------------------------------------------------------


def test_without_a_quorum_everything_waits_and_then_goes_through_once(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, MemoryNode(is_holding=True))
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        with pytest.raises(Unreachable):
            bureau.settle(register)
        assert len(register.waiting_batches()) == 1
        bureau.node.is_holding = False
        bureau.settle(register)
        bureau.verify(bureau.draft("a"), bureau.prove(register, "a"))
    assert operations_of(bureau.node) == ["anchor"]


def test_a_transaction_is_sent_again_as_it_is_and_signed_anew_once_it_expired(tmp_path: Path) -> None:
    node = WatchedNode(is_holding=True)
    bureau = Bureau(tmp_path, node)

    async def run(register: Register) -> None:
        async with Served(bureau.nodes) as urls, Nodes.connect(urls) as nodes:
            outbox = bureau.outbox(register, nodes)
            for advance_ms in (0, VALIDITY_MS - 1, 1):
                bureau.node.clock.now_ms += advance_ms
                with pytest.raises(Unreachable):
                    await outbox.settle()

    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        asyncio.run(run(register))
    assert node.seen[0] == node.seen[1] != node.seen[2]


def test_the_next_node_is_asked_where_one_is_silent_busy_or_behind(tmp_path: Path) -> None:
    silent, good = MemoryNode(waits_for="peers", fails=RuntimeError("a fault")), MemoryNode()
    bureau = Bureau(tmp_path, silent, good)
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        # The first fails at submission, then it is behind: it does not know the anchor.
        bureau.settle(register)
        bureau.verify(bureau.draft("a"), bureau.prove(register, "a"))
    assert operations_of(good) == ["anchor"] and silent.ledger.blocks == []


@pytest.mark.parametrize("code", sorted(BUSY_CODES))
def test_a_node_without_room_is_no_refusal(code: str, tmp_path: Path) -> None:
    full, good = BusyNode(busy=code), MemoryNode()
    with opened(Bureau(tmp_path, full)) as register:
        register.collect([Bureau(tmp_path).draft("a")], now_ms=START_MS)
        with pytest.raises(Unreachable, match="room"):
            Bureau(tmp_path, full).settle(register)
        assert len(register.waiting_batches()) == 1
        Bureau(tmp_path, full, good).settle(register)
    assert operations_of(good) == ["anchor"]


def test_the_node_that_answered_is_asked_first_from_then_on(tmp_path: Path) -> None:
    down, good = MemoryNode(fails=RuntimeError("a fault")), MemoryNode()
    bureau = Bureau(tmp_path, down, good)

    async def run(register: Register) -> None:
        async with Served(bureau.nodes) as urls, Nodes.connect(urls) as nodes:
            outbox = bureau.outbox(register, nodes)
            await outbox.settle()
            down.requests.clear()
            await outbox.prove(register.require("a"))

    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        asyncio.run(run(register))
    assert down.requests == []


def test_a_node_that_lies_about_an_anchor_is_not_believed(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, LyingNode())
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        with pytest.raises(Unreachable):
            bureau.settle(register)
        assert operations_of(bureau.node) == ["anchor"]
        assert len(register.waiting_batches()) == 1, "a final answer without a quorum is no anchor"


def test_a_revocation_leaves_the_register_when_it_is_shown_and_not_when_it_is_told(tmp_path: Path) -> None:
    node = DeafNode()
    bureau = Bureau(tmp_path, node)
    with opened(bureau) as register:
        (issued,) = register.collect([bureau.draft("a")], now_ms=START_MS)
        bureau.settle(register)
        register.add_revocation(issued.commitment, "error")
        node.is_deaf = True
        for _ in range(2):
            with pytest.raises(Unreachable):
                bureau.settle(register)
            assert not register.is_revoked(issued.commitment) and len(register.due_revocations()) == 1
        node.is_deaf = False
        assert bureau.settle(register).revoked == (issued.commitment,)
        assert register.is_revoked(issued.commitment)
    assert operations_of(node) == ["anchor", "revoke"]


@pytest.mark.parametrize("code", ["revoked", "unknown", "document-expired"])
def test_a_refusal_to_prove_what_is_anchored_counts_when_it_shows_why(tmp_path: Path, code: str) -> None:
    node = RefusingNode()
    bureau = Bureau(tmp_path, node)
    with opened(bureau) as register:
        (issued,) = register.collect([bureau.draft("a")], now_ms=START_MS)
        bureau.settle(register)
        node.code = code
        with pytest.raises(Unreachable):
            bureau.prove(register, "a")
        register.add_revocation(issued.commitment, "error")
        bureau.settle(register)
        with pytest.raises(RefusedByNode, match="revoked in block") as refused:
            bureau.prove(register, "a")
        assert refused.value.code == "revoked"


@pytest.mark.parametrize("age_ms", [0, FRESH_MS])
def test_a_suspension_that_old_evidence_shows_may_be_over(tmp_path: Path, age_ms: int) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        bureau.settle(register)
        suspend(bureau.node.ledger, ISSUER)
        bureau.node.clock.now_ms = bureau.node.ledger.tip.header.time_ms
        bureau.node.extend()
        bureau.node.clock.now_ms += age_ms
        with pytest.raises(RefusedByNode, match="distrusted"):
            bureau.prove(register, "a")
        bureau.node.clock.now_ms += FRESH_MS + 1
        with pytest.raises(Unreachable):
            bureau.prove(register, "a")


def test_a_proof_that_waits_is_not_given_up_for_a_lie(tmp_path: Path) -> None:
    node = RefusingNode()
    bureau = Bureau(tmp_path, node)
    path = tmp_path / "a.proof"
    with opened(bureau) as register:
        register.collect([bureau.draft("a", proof_path=path)], now_ms=START_MS)
        node.code = "revoked"
        # The anchor is confirmed by the same kind of question, so it waits as well.
        with pytest.raises(Unreachable):
            bureau.settle(register)
        node.code = None
        bureau.settle(register)
        bureau.verify(bureau.draft("a"), Proof.decode(path.read_bytes()))


def test_what_a_node_learns_is_identifiers_the_root_and_commitments(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        (issued,) = register.collect([bureau.draft("customer 4711")], now_ms=START_MS)
        bureau.settle(register)
        bureau.prove(register, "customer 4711")
        batch = register.batch(1)
    root, commitment = batch.root, issued.commitment
    assert bureau.node.requests == [
        EvidenceRequest(ISSUER, root, root, None, None, 0),
        EvidenceRequest(ISSUER, root, commitment, None, None, 0),
    ]
    opening = issued.opening
    assert opening is not None
    sent = b"".join(pack(each) for each in bureau.node.requests)  # type: ignore[arg-type]
    sent += b"".join(t.encoded for each in bureau.node.ledger.blocks for t in each.block.transactions)
    for secret in (opening.salt, opening.content_root, opening.metadata, b"4711", HOLDER.data):
        assert secret not in sent


def test_a_refresh_sends_identifiers_and_the_commitment_and_nothing_else(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        bureau.settle(register)
        proof = bureau.prove(register, "a")
    bureau.node.requests.clear()

    async def refresh_it() -> Proof:
        async with serve(bureau.node) as url, Client.connect(url) as client:
            ledger = LedgerClient(Nodes([client]), TRUST, bureau.node.clock.wall_ms)
            return (await refresh(ledger, proof, None)).value

    bureau.node.extend()
    refreshed = asyncio.run(refresh_it())
    expected = EvidenceRequest(ISSUER, proof.anchor_root, proof.opening.commitment(), None, None, 0)
    assert bureau.node.requests == [expected]
    sent = pack(expected)
    secrets = (proof.opening.salt, proof.opening.content_root, proof.opening.metadata)
    assert not any(secret in sent for secret in secrets)
    assert refreshed.opening == proof.opening and refreshed.evidence.header != proof.evidence.header


def test_a_document_without_the_holder_that_its_schema_asks_for_is_told_so_and_not_tried_for_ever(
    tmp_path: Path,
) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a", holder_key=None), bureau.draft("b")], now_ms=START_MS)
        bureau.settle(register)
        with pytest.raises(RefusedByNode) as refused:
            bureau.prove(register, "a")
        assert refused.value.code == "no-holder"
        bureau.verify(bureau.draft("b"), bureau.prove(register, "b"))


# -- erasing --------------------------------------------------------------------------------------------------


def test_an_erased_document_leaves_its_commitment_and_nothing_that_opens_it(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        (issued, other) = register.collect(
            [
                bureau.draft(
                    "customer 4711", proof_path=tmp_path / "4711.proof", holder_key=key_of("another").public
                ),
                bureau.draft("b"),
            ],
            now_ms=START_MS,
        )
        bureau.settle(register)
        assert issued.opening is not None
        secrets = (
            issued.opening.salt,
            issued.opening.content_root,
            issued.opening.metadata,
            b"customer 4711",
        )
        kept = b"".join(path.read_bytes() for path in bureau.path.parent.iterdir())
        assert all(secret in kept for secret in secrets), "the search would find them"
        assert register.erase(issued.commitment) and not register.erase(issued.commitment)
        assert register.find("customer 4711") is None
        left = b"".join(path.read_bytes() for path in bureau.path.parent.iterdir())
        assert not any(secret in left for secret in (*secrets, b"4711.proof"))
        gone = register.find_commitment(issued.commitment)
        assert gone is not None and gone.opening is None
        with pytest.raises(RefusedByNode, match="erased"):
            asyncio.run(reprove(bureau, register, issued.commitment))
        bureau.verify(bureau.draft("b"), bureau.prove(register, "b"))
        assert other.opening is not None
        register.add_revocation(issued.commitment, "holder-request")
        assert bureau.settle(register).revoked == (issued.commitment,), "what is erased can still be revoked"


def test_a_document_erased_before_its_anchor_does_not_hold_up_its_batch(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        (issued, _) = register.collect([bureau.draft("a"), bureau.draft("b")], now_ms=START_MS)
        register.erase(issued.commitment)
        assert bureau.settle(register).anchored[0].leaf_count == 2
        bureau.verify(bureau.draft("b"), bureau.prove(register, "b"))


def test_erasing_waits_its_turn_among_threads_that_read(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    is_over = threading.Event()
    with opened(bureau) as register:
        issued = register.collect([bureau.draft(f"{number}") for number in range(100)], now_ms=START_MS)
        register.form_batches(1_000)

        def read() -> int:
            count = 0
            while not is_over.is_set():
                count += len(register.waiting_batches()) + register.collected_count()
            return count

        with ThreadPoolExecutor() as threads:
            readers = [threads.submit(read) for _ in range(2)]
            try:
                assert all(register.erase(each.commitment) for each in issued)
            finally:
                is_over.set()
            assert all(reader.result() for reader in readers)


def test_nothing_is_erased_while_another_program_keeps_its_older_copies(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register, closing(sqlite3.connect(bureau.path, isolation_level=None)) as other:
        (issued,) = register.collect([bureau.draft("customer 4711")], now_ms=START_MS)
        register._connection.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM documents").fetchone()
        with pytest.raises(RegisterError, match="another program reading it"):
            register.erase(issued.commitment)
        assert register.find("customer 4711") == issued, "nothing is erased"
        other.execute("ROLLBACK")
        assert b"customer 4711" in log_of(bureau), "the search would find it"
        assert register.erase(issued.commitment) and log_of(bureau) == b""


# -- the file -------------------------------------------------------------------------------------------------


def test_a_register_is_private_has_one_user_and_knows_whose_it_is(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau):
        for path in bureau.path.parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        with pytest.raises(RegisterError, match="only user"), opened(bureau):
            pass
    for chain_id, issuer in ((CHAIN_ID, "mainland-bureau"), (bytes(32), ISSUER)):
        with (
            pytest.raises(RegisterError, match="own register"),
            Register.open(bureau.path, chain_id=chain_id, issuer=issuer),
        ):
            pass


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_register_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau):
        pass
    bureau.path.chmod(mode)
    with pytest.raises(RegisterError, match="mode 0600"), opened(bureau):
        pass


def test_a_damaged_register_says_so(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    bureau.path.parent.mkdir()
    bureau.path.write_bytes(b"no register at all" * 100)
    bureau.path.chmod(0o600)
    with pytest.raises(RegisterError, match="a usable register") as caught, opened(bureau):
        pass
    # An error that is kept keeps no file open.
    opened_files = {each.resolve() for each in Path("/proc/self/fd").glob("*")}
    assert caught.value.where == f"{bureau.path}" and bureau.path not in opened_files


def test_a_register_is_synced_before_it_answers(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        connection = register._connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
        with pytest.raises(sqlite3.IntegrityError), register.change():
            connection.execute("UPDATE documents SET batch = 7")
            connection.execute("INSERT INTO documents (schema, commitment, batch) VALUES ('s', x'00', 7)")
            connection.execute("INSERT INTO documents (schema, commitment) VALUES ('s', x'00')")
        assert register.collected_count() == 0


def test_media_types_are_the_same_on_every_machine_and_fit_a_commitment(tmp_path: Path) -> None:
    from node.client.issuing import draft

    assert media_type_of(Path("a.pdf")) == "application/pdf"
    assert media_type_of(Path("a.json")) == "application/json"
    assert media_type_of(Path("a")) == media_type_of(Path("a.unheard-of")) == "application/octet-stream"
    for media_type in draft._MEDIA_TYPES.types_map[True].values():
        Bureau(tmp_path).draft("a", media_type=media_type).opened(ISSUER, now_ms=START_MS).commitment()


def test_dicom_is_told_by_its_bytes_where_a_name_says_nothing() -> None:
    magic = bytes(128) + b"DICM"
    for name in ("scan", "scan.dcm", "1.2.840.113619", "scan.bin"):
        assert media_type_of(Path(name), magic) == "application/dicom"
        assert media_type_of(Path(name), magic[:-1]) == "application/octet-stream"
        assert media_type_of(Path(name), b"\0" + magic[:-1]) == "application/octet-stream"
    assert media_type_of(Path("scan.pdf"), magic) == "application/pdf"


def test_the_media_type_of_a_set_is_given_to_no_other_document(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"LUOHU-SET\x01" + bytes(32))
    named: Any = {"media_type": "application/vnd.luohu.set", "schema": REPORT, "holder_key": None}
    with pytest.raises(UnfitSet) as of_bytes:
        draft_of_bytes(path.read_bytes(), **named)
    with pytest.raises(UnfitSet) as of_file:
        draft_of_file(path, **named)
    assert of_bytes.value.code == of_file.value.code == "reserved-media-type"


def test_a_client_can_be_used_by_several_documents_at_once(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)

    async def run(register: Register) -> list[Proof]:
        async with Served(bureau.nodes) as urls, Client.connect(urls[0]) as client:
            outbox = bureau.outbox(register, Nodes([client]))
            await outbox.settle()
            return await asyncio.gather(*(outbox.prove(register.require(f"{n}")) for n in range(20)))

    with opened(bureau) as register:
        register.collect([bureau.draft(f"{n}") for n in range(20)], now_ms=START_MS)
        proofs = asyncio.run(run(register))
    for number, proof in enumerate(proofs):
        bureau.verify(bureau.draft(f"{number}"), proof)
