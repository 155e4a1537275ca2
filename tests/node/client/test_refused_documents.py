"""A queue whose head can always leave: what is refused is named and kept, and the rest goes on without it."""

import errno
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.commitments import DAY_MS
from ledger.proofs import Proof
from ledger.rules.operations import CastVote
from ledger.rules.proposals import SetIssuers
from node.client.issuing.outbox import PROOFS_AT_ONCE
from node.client.issuing.register import _SCHEMA, Refusal, Register, RegisterError, State
from node.errors import Unreachable
from node.files.durablefile import POSIX_FILES, PosixFiles
from tests.node.client.test_issuing import ISSUER, Bureau, CrashingRegister, opened, operations_of
from tests.support.consortium import CHAIN_ID, NOTICE, REPORT, START_MS
from tests.support.crashing_disk import PowerCut
from tests.support.governors import proposing, soon, suspend

SOON_MS = START_MS + DAY_MS


def decide(bureau: Bureau, change: SetIssuers, version: int) -> None:
    """Have the governors that a change does not name pass it, in a block of their own."""
    node = bureau.node
    proposed, identity = proposing(change, version)
    voting = [
        soon(node.ledger, member, CastVote(identity, "yes")) for member in ("mainland-bank", "sz-operator")
    ]
    assert not node.extend(soon(node.ledger, "hk-operator", proposed, CastVote(identity, "yes")), *voting)


def states(register: Register) -> list[State]:
    return [each.state for each in reversed(register.newest(100))]


def test_an_expiry_that_is_past_is_refused_before_anything_is_collected(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    drafts = [bureau.draft("a"), bureau.draft("b", expires_ms=START_MS)]
    with opened(bureau) as register:
        with pytest.raises(RegisterError, match="after") as refused:
            register.collect(drafts, now_ms=START_MS)
        assert refused.value.code == "expired" and register.newest(9) == []
        register.collect([bureau.draft("c", expires_ms=START_MS + 1)], now_ms=START_MS)
        assert states(register) == [State.COLLECTED]


def test_an_expiry_that_passes_while_waiting_takes_that_document_alone(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a", expires_ms=SOON_MS), bureau.draft("b")], now_ms=START_MS)
        bureau.node.clock.now_ms = SOON_MS
        settled = bureau.settle(register)
        assert [each.reference for each in settled.refused] == ["a"]
        assert settled.refused[0].refusal is not None and settled.refused[0].refusal.code == "expired"
        assert states(register) == [State.REFUSED, State.ANCHORED]
        bureau.verify(bureau.draft("b"), bureau.prove(register, "b"))
        assert bureau.settle(register).refused == (), "it is named once"


def test_a_batch_that_expired_before_it_was_anchored_leaves_and_others_go_on(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft(f"{n}", expires_ms=SOON_MS) for n in range(3)], now_ms=START_MS)
        register.form_batches(100)
        bureau.node.clock.now_ms = SOON_MS
        register.collect([bureau.draft("new")], now_ms=SOON_MS)
        settled = bureau.settle(register)
        assert [each.reference for each in settled.refused] == ["0", "1", "2"]
        assert [batch.leaf_count for batch in settled.anchored] == [1]
        assert states(register) == [State.REFUSED] * 3 + [State.ANCHORED]
        assert operations_of(bureau.node) == ["anchor"]


def test_of_a_batch_that_was_formed_in_time_the_expired_document_alone_is_refused(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    path = tmp_path / "a.proof"
    with opened(bureau) as register:
        drafts = [bureau.draft("a", expires_ms=SOON_MS, proof_path=path), bureau.draft("b")]
        register.collect(drafts, now_ms=START_MS)
        register.form_batches(100)
        bureau.node.clock.now_ms = SOON_MS
        settled = bureau.settle(register)
        assert [each.reference for each in settled.refused] == ["a"] and not path.exists()
        assert states(register) == [State.REFUSED, State.ANCHORED]


def test_what_expired_after_it_was_recorded_and_before_it_was_known_is_still_anchored(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a", expires_ms=SOON_MS)], now_ms=START_MS)
        bureau.settle(register)
        with register.change():
            register._connection.execute("UPDATE batches SET height = NULL")
        bureau.node.clock.now_ms = SOON_MS
        settled = bureau.settle(register)
        assert [batch.height for batch in settled.anchored] == [1] and settled.refused == ()
        assert operations_of(bureau.node) == ["anchor"]


def test_a_kind_that_nobody_registered_is_left_behind_and_other_kinds_go_on(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        drafts = [
            bureau.draft("a", schema="hk.unheard-of"),
            bureau.draft("b"),
            bureau.draft("c", schema=NOTICE),
        ]
        register.collect(drafts, now_ms=START_MS)
        settled = bureau.settle(register)
        assert [each.refusal and each.refusal.code for each in settled.refused] == ["unknown-schema"]
        assert len(settled.anchored) == 2 and register.waiting_batches() == []
        assert register.waiting_count() == 0


def test_a_refused_document_may_be_tried_again_and_then_succeeds(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a"), bureau.draft("b")], now_ms=START_MS)
        (batch,) = register.form_batches(100)
        refused = register.refuse_batch(batch, Refusal("issuer-suspended", "suspended"))
        assert states(register) == [State.REFUSED] * 2 and register.collected_count() == 0
        register.readmit(refused[:1])
        assert states(register) == [State.COLLECTED, State.REFUSED]
        bureau.settle(register)
        assert states(register) == [State.ANCHORED, State.REFUSED]
        bureau.verify(bureau.draft("a"), bureau.prove(register, "a"))


def test_a_suspended_issuer_s_documents_are_refused_and_wait_for_its_reinstatement(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    suspend(bureau.node.ledger, ISSUER)
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        settled = bureau.settle(register)
        assert settled.anchored == () and states(register) == [State.REFUSED]
        assert settled.refused[0].reference == "a"


def test_an_issuer_taken_off_a_list_while_its_batches_queue_goes_on_with_other_kinds(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a"), bureau.draft("b", schema=NOTICE)], now_ms=START_MS)
        register.form_batches(100)
        decide(bureau, SetIssuers(REPORT, ("mainland-bureau",), ()), 0)
        settled = bureau.settle(register)
        assert [each.refusal and each.refusal.code for each in settled.refused] == ["issuer-not-listed"]
        assert states(register) == [State.REFUSED, State.ANCHORED] and register.waiting_count() == 0
        bureau.verify(bureau.draft("b", schema=NOTICE), bureau.prove(register, "b"))
        decide(bureau, SetIssuers(REPORT, (ISSUER,), ()), 1)
        register.readmit([register.require("a")])
        assert len(bureau.settle(register).anchored) == 1, "listed again, it goes on"


def test_a_dropped_document_leaves_the_queue_and_frees_its_reference(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        (issued,) = register.collect([bureau.draft("a")], now_ms=START_MS)
        register.drop([issued])
        register.drop([issued])
        assert bureau.settle(register).anchored == () and states(register) == [State.DROPPED]
        (again,) = register.collect([bureau.draft("a")], now_ms=START_MS)
        assert again.id != issued.id
        bureau.settle(register)
        with pytest.raises(RegisterError, match="revoke") as refused:
            register.drop([again])
        assert "anchored" in refused.value.found
        assert states(register) == [State.DROPPED, State.ANCHORED], "a refusal changes nothing"


def test_documents_are_dropped_all_or_none(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        bureau.settle(register)
        register.collect([bureau.draft("b")], now_ms=START_MS)
        with pytest.raises(RegisterError):
            register.drop([register.require("b"), register.require("a")])
        assert states(register) == [State.ANCHORED, State.COLLECTED]


def test_where_a_correction_is_dropped_the_old_document_stands_again(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a")], now_ms=START_MS)
        bureau.settle(register)
        wrong = bureau.draft("b", schema="hk.unheard-of")
        made = register.supersede("a", wrong, now_ms=START_MS)
        settled = bureau.settle(register)
        assert [each.id for each in settled.refused] == [made.id] and settled.revoked == ()
        assert states(register) == [State.ANCHORED, State.REFUSED], "the old one is not revoked yet"
        register.drop([made])
        assert register.require("a").supersedes is None
        assert bureau.settle(register).revoked == (), "nothing revokes the old one"


def test_a_proof_that_has_no_place_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    gone, there = tmp_path / "gone" / "a.proof", tmp_path / "b.proof"
    with opened(bureau) as register:
        drafts = [bureau.draft("a", proof_path=gone), bureau.draft("b", proof_path=there)]
        register.collect(drafts, now_ms=START_MS)
        settled = bureau.settle(register)
        assert [(each.reference, error.errno) for each, error in settled.unwritten] == [("a", errno.ENOENT)]
        assert states(register) == [State.ANCHORED, State.DELIVERED]
        gone.parent.mkdir()
        assert [each.reference for each in bureau.settle(register).delivered] == ["a"]
        bureau.verify(drafts[0], Proof.decode(gone.read_bytes()))


class FullDisk(PosixFiles):
    """A disk without room for proofs."""

    def create(self, path: Path, mode: int = 0o600) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def create_held(self, path: Path, mode: int) -> int:
        return self.create(path, mode)


def test_a_full_disk_ends_the_pass_and_nothing_is_lost(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, files=FullDisk())
    with opened(bureau) as register:
        register.collect([bureau.draft("a", proof_path=tmp_path / "a.proof")], now_ms=START_MS)
        with pytest.raises(OSError, match="No space"):
            bureau.settle(register)
        assert states(register) == [State.ANCHORED]
        bureau.files = POSIX_FILES
        assert len(bureau.settle(register).delivered) == 1


def test_one_clerk_s_documents_are_settled_without_another_s(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        old = [bureau.draft(f"old {n}", proof_path=tmp_path / f"{n}.proof") for n in range(5)]
        register.collect(old, now_ms=START_MS)
        register.form_batches(100)
        (mine,) = register.collect([bureau.draft("mine", proof_path=tmp_path / "mine")], now_ms=START_MS)
        settled = bureau.settle_only(register, [mine.id])
        assert [each.reference for each in settled.delivered] == ["mine"]
        assert register.waiting_count() == 5 and states(register)[:5] == [State.SUBMITTED] * 5
        assert len(bureau.settle(register).delivered) == 5 and register.waiting_count() == 0


def test_an_outage_ends_the_pass_and_no_document_is_refused(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("a", proof_path=tmp_path / "a.proof")], now_ms=START_MS)
        bureau.node.is_holding = True
        with pytest.raises(Unreachable):
            bureau.settle(register)
        assert states(register) == [State.SUBMITTED]


def test_each_state_is_counted_and_listed(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    with opened(bureau) as register:
        register.collect([bureau.draft("revoked"), bureau.draft("old")], now_ms=START_MS)
        bureau.settle(register)
        register.add_revocation(register.require("revoked").commitment, "error")
        register.supersede("old", bureau.draft("new"), now_ms=START_MS)
        bureau.settle(register)
        register.collect([bureau.draft("waits")], now_ms=START_MS)
        expected = {State.REVOKED: 1, State.CORRECTED: 1, State.ANCHORED: 1, State.COLLECTED: 1}
        assert register.counts() == expected
        assert [each.reference for each in register.newest(1, state=State.CORRECTED)] == ["old"]
        assert len(register.newest(3)) == 3


def test_the_copies_of_a_content_are_found_until_they_are_erased(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    draft = bureau.draft("a")
    with opened(bureau) as register:
        register.collect([draft, replace(draft, reference="copy"), bureau.draft("b")], now_ms=START_MS)
        assert [each.reference for each in register.find_content(draft.content.root)] == ["a", "copy"]
        register.erase(register.require("a").commitment)
        assert [each.reference for each in register.find_content(draft.content.root)] == ["copy"]


def test_a_register_of_version_1_is_read_with_all_that_it_holds(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    draft = bureau.draft("a")
    with opened(bureau) as register:
        (issued,) = register.collect([draft], now_ms=START_MS)
        opening = register._connection.execute("SELECT opening FROM documents").fetchone()[0]
    bureau.path.unlink()
    bureau.path.touch(mode=0o600)
    with closing(sqlite3.connect(bureau.path)) as old:
        old.executescript(_SCHEMA)
        old.execute("CREATE UNIQUE INDEX standing ON documents (reference) WHERE reference IS NOT NULL")
        old.execute("INSERT INTO owner VALUES (1, ?, ?)", (CHAIN_ID, ISSUER))
        row = ("a", draft.schema, issued.commitment, opening)
        old.execute("INSERT INTO documents (reference, schema, commitment, opening) VALUES (?, ?, ?, ?)", row)
        old.commit()
    for _ in range(2):
        with opened(bureau) as register:
            assert register.find_content(draft.content.root) == [register.require("a")]
            assert register.require("a").commitment == issued.commitment
    with opened(bureau) as register:
        bureau.settle(register)
        bureau.verify(draft, bureau.prove(register, "a"))


def test_proofs_are_asked_for_and_noted_together_and_a_crash_between_repeats_some(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    count = 2 * PROOFS_AT_ONCE + 1
    paths = [tmp_path / f"{n}.proof" for n in range(count)]
    with opened(bureau) as register:
        assert isinstance(register, CrashingRegister)
        register.collect(
            [bureau.draft(f"{n}", proof_path=path) for n, path in enumerate(paths)], now_ms=START_MS
        )
        register.form_batches(1_000)
        before = register.changes_count
        register.crash_at = before + 4
        with pytest.raises(PowerCut):
            bureau.settle(register)
        assert register.counts() == {State.DELIVERED: PROOFS_AT_ONCE, State.ANCHORED: PROOFS_AT_ONCE + 1}
    with opened(bureau) as register:
        assert len(bureau.settle(register).delivered) == PROOFS_AT_ONCE + 1
        assert register.counts() == {State.DELIVERED: count} and all(path.exists() for path in paths)
    assert operations_of(bureau.node) == ["anchor"]
