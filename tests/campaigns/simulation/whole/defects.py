"""Deliberate defects, each a small patch of the code under test, which the simulation must find.

Rule 1: a defect is one mistake that a person could make in one place. Where a second line of defence would
hide it, a variant takes that line away too.
Rule 2: each is found within `seeds_max` seeds, by the claim that it says.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest import mock

import ledger.chain.execution
import ledger.rules.transition
import node.consensus.core
import node.consensus.restore
import node.consensus.voter
import node.replica.engine
import node.sync.blocks
import node.sync.snapshot
from ledger.chain.overlays import Tip
from ledger.encoding.keys import PrivateKey
from ledger.errors import LedgerError
from ledger.rules.certificates import (
    NOTARIZE,
    NULLIFY,
    VOTE_TAGS,
    QuorumCertificate,
    Subject,
    ValidatorSet,
    Vote,
)
from ledger.rules.standing import BlockContext, Refused
from ledger.rules.state import Anchor, L, Revocation, StateView
from ledger.rules.transactions import Transaction
from ledger.rules.transition import apply_transaction
from node.chain.blocktree import Candidate
from node.chain.chain import Chain
from node.consensus.admission import Admission
from node.consensus.core import Simplex
from node.consensus.effects import Broadcast, Effect, Persist
from node.consensus.emission import Emission
from node.consensus.pacemaker import Pacemaker
from node.consensus.rounds import FinalizedTip, Round, Rounds
from node.consensus.startup import Startup
from node.consensus.viewstates import Certification
from node.consensus.votebook import VoteBook
from node.consensus.voter import Voter
from node.messages import BUSY, Gossip, NotHeld
from node.replica.blockexecutor import BlockExecutor
from node.replica.driver import Driver
from node.replica.inbox import Inbox
from node.replica.intake import Intake
from node.replica.journal import VoteLogJournal
from node.replica.mempool import Mempool
from node.storage.database import WriteBatch
from node.storage.signer import SignerGuard
from node.storage.store import Store
from node.storage.votelog import VoteLog
from node.sync.server import SyncServer

Patch = Callable[[ExitStack], None]


@dataclass(frozen=True, slots=True)
class Defect:
    """A mistake, what must find it, and in whose presence."""

    patch: Patch
    claim: str
    byzantine: str | None = None
    seeds_max: int = 6


DEFECTS: dict[str, Defect] = {}


def defect(claim: str, *, byzantine: str | None = None, seeds_max: int = 6) -> Callable[[Patch], Patch]:
    """Register a defect under the name of its function. `claim` is a regular expression."""

    def register(patch: Patch) -> Patch:
        DEFECTS[patch.__name__] = Defect(patch, claim, byzantine, seeds_max)
        return patch

    return register


@contextmanager
def injected(name: str) -> Iterator[Defect]:
    """Run with a defect."""
    with ExitStack() as patches:
        found = DEFECTS[name]
        found.patch(patches)
        yield found


def put(patches: ExitStack, owner: object, name: str, instead: object) -> None:
    """Put something in the place of an attribute."""
    patches.enter_context(mock.patch.object(owner, name, instead))


# What must be durable, and when.


@defect("I10")
def vote_log_is_not_synced(patches: ExitStack) -> None:
    append = VoteLog.append

    def unsynced(self: VoteLog, records: Sequence[bytes]) -> None:
        with mock.patch.object(type(self._files), "sync", lambda files, descriptor: None):
            append(self, records)

    put(patches, VoteLog, "append", unsynced)


@defect("I10")
def votes_are_not_recorded(patches: ExitStack) -> None:
    put(patches, VoteLogJournal, "persist", lambda self, effect: None)


@defect("I10")
def votes_are_recorded_one_event_late(patches: ExitStack) -> None:
    persist = VoteLogJournal.persist
    held: dict[int, Persist] = {}

    def late(self: VoteLogJournal, effect: Persist) -> None:
        before = held.pop(id(self), None)
        held[id(self)] = effect
        if before is not None:
            persist(self, before)

    put(patches, VoteLogJournal, "persist", late)


@defect("I10")
def votes_are_sent_before_they_are_recorded(patches: ExitStack) -> None:
    drain = Emission.drain

    def send_first(self: Emission) -> list[Effect]:
        effects = drain(self)
        return sorted(effects, key=lambda effect: not isinstance(effect, Broadcast))

    put(patches, Emission, "drain", send_first)


@defect("I10")
def blocks_are_not_kept_before_the_vote(patches: ExitStack) -> None:
    put(patches, Chain, "_make_durable", lambda self, candidate: None)


@defect("I10")
def finality_is_reported_before_it_is_synced(patches: ExitStack) -> None:
    def unsynced(self: Store, batch: WriteBatch) -> None:
        self._database.write(batch, is_synced=False)

    put(patches, Store, "_write", unsynced)


@defect("I9|I11|I1|I8|intact record|L1|StoreError|NodeStopped|StatePageError", seeds_max=20)
def store_batch_is_written_record_by_record(patches: ExitStack) -> None:
    write = Store._write

    def one_by_one(self: Store, batch: WriteBatch) -> None:
        for key, value in batch.changes.items():
            part = WriteBatch()
            part.changes[key] = value
            write(self, part)

    put(patches, Store, "_write", one_by_one)


@defect("I7|believes that it forgot|SigningRefused")
def votes_are_forgotten_in_a_restart(patches: ExitStack) -> None:
    put(patches, node.consensus.restore, "_restore_vote", lambda rounds, vote: None)


@defect("I9")
def floor_goes_back_in_a_restart(patches: ExitStack) -> None:
    def from_the_start(tip: Tip, certificate: QuorumCertificate | None) -> FinalizedTip:
        return FinalizedTip(0, tip.encoded_header.hash, None)

    put(patches, node.replica.engine, "_finalized", from_the_start)
    put(patches, node.consensus.core, "find_floor", lambda journal, epoch, finalized: finalized)


# What may be signed.


def _sign_everything(patches: ExitStack) -> None:
    def sign(self: SignerGuard, subject: Subject) -> bytes:
        key = self._key
        assert isinstance(key, PrivateKey)
        return key.sign(VOTE_TAGS[subject.kind], subject.body(self._chain_id))

    put(patches, SignerGuard, "sign", sign)


def _finalize_what_was_nullified(patches: ExitStack) -> None:
    settle = Voter._settle

    def careless(self: Voter, view: int, now_ms: int) -> None:
        found = self._rounds.at(view)
        is_certified = found.certification is Certification.VALID
        hidden = found.own.pop(NULLIFY, None) if is_certified else None
        settle(self, view, now_ms)
        if hidden is not None:
            found.own[NULLIFY] = hidden

    put(patches, Voter, "_settle", careless)


@defect("SigningRefused", seeds_max=12)
def finalize_after_nullify_meets_the_guard(patches: ExitStack) -> None:
    _finalize_what_was_nullified(patches)


@defect("I7|I8", seeds_max=12)
def finalize_after_nullify_without_a_guard(patches: ExitStack) -> None:
    _finalize_what_was_nullified(patches)
    _sign_everything(patches)


@defect("I7|I8|SigningRefused|believes that it forgot", byzantine="equivocator", seeds_max=20)
def a_leaders_second_block_is_notarized_too(patches: ExitStack) -> None:
    notarize = Voter._notarize

    def again(self: Voter, current: Round) -> bool:
        own = current.own.get(NOTARIZE)
        if own is not None and current.proposal is not None and own.subject != current.proposal:
            del current.own[NOTARIZE]
        current.is_equivocated = False
        return notarize(self, current)

    def propose(self: Round, subject: Subject) -> None:
        if self.proposal != subject:
            self.proposal, self.is_verified, self.is_verify_requested = subject, False, False

    put(patches, Voter, "_notarize", again)
    put(patches, Round, "propose", propose)
    _sign_everything(patches)


# What counts.


@defect("I6")
def quorum_of_own_votes_is_one_too_small(patches: ExitStack) -> None:
    find_quorum = VoteBook.find_quorum

    def too_small(self: VoteBook, kind: str, quorum: int) -> QuorumCertificate | None:
        return find_quorum(self, kind, quorum - 1)

    put(patches, VoteBook, "find_quorum", too_small)


@defect("I6")
def quorum_is_one_too_small_everywhere(patches: ExitStack) -> None:
    put(patches, ValidatorSet, "quorum", property(lambda self: len(self) - self.faulty_max - 1))


@defect("I6", byzantine="impersonator")
def certificates_are_not_verified(patches: ExitStack) -> None:
    put(patches, QuorumCertificate, "verify", lambda self, chain_id, validators: None)


@defect("I6|L1|I7|I8|I2", byzantine="impersonator")
def votes_are_not_verified(patches: ExitStack) -> None:
    put(patches, Vote, "verify", lambda self, chain_id, validators: None)
    put(patches, Admission, "is_genuine", lambda self, peer, vote: True)

    def admit(self: Admission, peer: int, vote: Vote) -> bool:
        if not self._rounds.admits_votes(vote.subject.view):
            return False
        self.add_vote(self._rounds.at(vote.subject.view).votes, vote)
        return True

    put(patches, Admission, "admit_vote", admit)


# Who takes blocks that its core has no proof of may also be left behind by it: L1.
@defect("I6|I1|L1|NodeStopped|Divergence|AssertionError", byzantine="lying-server", seeds_max=20)
def final_blocks_are_taken_without_their_certificate(patches: ExitStack) -> None:
    put(patches, node.sync.blocks, "verify_header", lambda *arguments, **named: None)


@defect("I8")
def notarize_with_nullify_is_called_misbehaviour(patches: ExitStack) -> None:
    find_conflict = VoteBook.find_conflict

    def severe(self: VoteBook, vote: Vote) -> Vote | None:
        if vote.subject.kind == NULLIFY and self.find(NOTARIZE, vote.signer) is not None:
            return self.find(NOTARIZE, vote.signer)
        return find_conflict(self, vote)

    put(patches, VoteBook, "find_conflict", severe)


@defect("I8")
def a_refused_transaction_is_called_an_offence(patches: ExitStack) -> None:
    def receive(self: Inbox, peer: str, message: Gossip) -> None:
        for encoded in message.transactions:
            self._intake._take(Transaction.decode(encoded))
        self._progress()

    put(patches, Inbox, "_receive_gossip", receive)


# What may be built on, and must go on.


@defect("I5|I10", byzantine="usurper", seeds_max=20)
def parents_are_taken_over_views_that_nobody_skipped(patches: ExitStack) -> None:
    put(patches, Rounds, "find_first_gap", lambda self, after, before: None)


@defect("I9|deadline|I5|AssertionError|L1")
def views_go_back(patches: ExitStack) -> None:
    def enter(self: Rounds, view: int) -> bool:
        is_new = view != self.current_view and view > self.finalized.view
        self.current_view = view if is_new else self.current_view
        return is_new

    put(patches, Rounds, "enter", enter)


@defect("L1|I12", seeds_max=12)
def nothing_is_said_twice(patches: ExitStack) -> None:
    core = node.consensus.core
    put(patches, core, "standstill_messages", lambda rounds, *, from_view: ([], 0))
    put(patches, core, "catch_up_messages", lambda rounds, **views: [])
    put(patches, core, "own_votes_above_finality", lambda rounds: [])
    put(patches, node.consensus.voter, "stuck_messages", lambda rounds: [])


@defect("L1|L2")
def a_timer_loses_its_wake_up(patches: ExitStack) -> None:
    put(patches, Pacemaker, "next_deadline_ms", lambda self, now_ms: None)
    put(patches, Simplex, "next_deadline_ms", lambda self: None)
    put(patches, Driver, "next_deadline_ms", lambda self: self._clock.monotonic_ms() + 3_600_000)


@defect("L1|believes that it forgot")
def the_question_at_the_start_is_never_answered(patches: ExitStack) -> None:
    put(patches, Startup, "note_answer", lambda self, peer, highest_certified_view: None)


@defect("I12", seeds_max=12)
def rounds_are_never_forgotten(patches: ExitStack) -> None:
    finalize = Rounds.finalize

    def hoard(self: Rounds, certificate: QuorumCertificate) -> None:
        before = dict(self._rounds)
        finalize(self, certificate)
        self._rounds = {**before, **self._rounds}

    put(patches, Rounds, "finalize", hoard)


# State, mempool, and catching up.


@defect("I11|Divergence|does not execute|seal at|L1")
def an_unfinal_block_leaks_into_the_state(patches: ExitStack) -> None:
    make_durable = Chain._make_durable

    def leak(self: Chain, candidate: Candidate) -> None:
        make_durable(self, candidate)
        assert candidate.executed is not None
        batch = WriteBatch()
        for key, value in candidate.executed.overlay.values.items():
            batch.put(b"V" + key, value)
        self.store._write(batch)

    put(patches, Chain, "_make_durable", leak)


@defect("I13", seeds_max=12)
def what_does_not_apply_on_an_unfinal_block_is_refused_for_good(patches: ExitStack) -> None:
    note_refused = Intake.note_refused

    def refuse_at_once(self: Intake, transaction: Transaction, parent_height: int) -> None:
        note_refused(self, transaction, parent_height)
        self._on_refused(
            transaction, LedgerError(where="block", expected="one that applies", found="another")
        )

    put(patches, Chain, "ids_above_tip", lambda self, block_hash: set())
    put(patches, Intake, "note_refused", refuse_at_once)


@defect("I13")
def what_is_final_is_recorded_again(patches: ExitStack) -> None:
    """No transaction is remembered as recorded: neither by the pool, nor by the rule for anchors."""
    put(patches, Store, "find_transaction", lambda self, transaction_id: None)
    put(patches, Mempool, "remove", lambda self, ids: None)
    put(patches, Chain, "ids_above_tip", lambda self, block_hash: set())
    find = ledger.rules.state.find

    def forgetful(state: StateView, shape: type[L], key: bytes) -> L | None:
        return None if shape in (Anchor, Revocation) else find(state, shape, key)

    put(patches, ledger.rules.transition, "find", forgetful)


@defect("I13", byzantine="repeater")
def a_repetition_is_taken_as_done(patches: ExitStack) -> None:
    """What was recorded before changes nothing, instead of being refused: a proposer may repeat it."""
    apply = apply_transaction

    def lenient(transaction: Transaction, state: StateView, context: BlockContext) -> dict[bytes, bytes]:
        try:
            return apply(transaction, state, context)
        except Refused as error:
            if error.code == "already-recorded":
                return {}
            raise

    put(patches, ledger.chain.execution, "apply_transaction", lenient)


@defect("R4", byzantine="withholder", seeds_max=20)
def certified_after_nullification_is_dropped(patches: ExitStack) -> None:
    note_certified = Voter.note_certified

    def drop(self: Voter, view: int, block_hash: bytes, now_ms: int, *, is_valid: bool) -> None:
        found = self._rounds.find(view)
        if found is None or not found.is_nullified:
            note_certified(self, view, block_hash, now_ms, is_valid=is_valid)

    put(patches, Voter, "note_certified", drop)


@defect("R4", byzantine="withholder", seeds_max=20)
def notarized_after_nullification_is_not_certified(patches: ExitStack) -> None:
    settle = Voter._settle

    def skip(self: Voter, view: int, now_ms: int) -> None:
        found = self._rounds.find(view)
        is_late = found is not None and {NOTARIZE, NULLIFY} <= found.certificates.keys()
        if found is not None and is_late and found.certification is Certification.NONE:
            found.certification = Certification.PENDING
        settle(self, view, now_ms)

    put(patches, Voter, "_settle", skip)


@defect("L1", seeds_max=12)
def what_is_final_is_not_served(patches: ExitStack) -> None:
    put(patches, SyncServer, "answer", lambda self, peer, message, now_ms: NotHeld(BUSY, 0, 0, 0, 0))


@defect("AssertionError|I10|I11")
def certified_means_nothing(patches: ExitStack) -> None:
    put(patches, BlockExecutor, "_is_certified", lambda self, certify: True)
