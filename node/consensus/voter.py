"""The life of a view: propose, verify, notarize, certify, finalize, give up (docs/consensus.md, C2 to C14).

Rule 1: everything is level-triggered: `advance` looks at what is known and does all that is possible now.
Rule 2: votes are signed in `_vote` only, which asserts every promise of the vote's kind.
Rule 3: an own vote is recorded before it counts, and counts here only together with its being sent.
"""

from collections.abc import Callable
from typing import Final

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, QuorumCertificate, Subject, Vote
from node.consensus.admission import Admission, votes_in
from node.consensus.config import Config
from node.consensus.effects import (
    AmnesiaEnded,
    Broadcast,
    Build,
    CancelCertify,
    Certify,
    Finalized,
    Verify,
)
from node.consensus.emission import Emission
from node.consensus.journal import (
    INVALID,
    VALID,
    Amnesia,
    CertificateHeld,
    CertifyVerdict,
    Floor,
    JournalRecord,
    VoteCast,
)
from node.consensus.messages import CertificateMessage
from node.consensus.pacemaker import Pacemaker
from node.consensus.resend import own_message, stuck_messages
from node.consensus.resolver import find_missing_ancestry
from node.consensus.rounds import Round, Rounds
from node.consensus.startup import Startup
from node.consensus.viewstates import Certification, Slot
from node.consensus.votebook import KINDS

NO_BLOCK: Final = "no-block-built"
INVALID_PROPOSAL: Final = "invalid-proposal"
NOT_CERTIFIABLE: Final = "not-certifiable"
LEADER_NULLIFIED: Final = "leader-nullified"
LEADER_EQUIVOCATED: Final = "leader-equivocated"


class Voter:
    """Moves the rounds of one node on."""

    __slots__ = (
        "_admission",
        "_config",
        "_dirty",
        "_emission",
        "_me",
        "_pacemaker",
        "_rounds",
        "_sign",
        "_startup",
    )

    def __init__(
        self,
        config: Config,
        me: int | None,
        rounds: Rounds,
        admission: Admission,
        pacemaker: Pacemaker,
        startup: Startup,
        emission: Emission,
        sign: Callable[[Subject], bytes] | None,
    ) -> None:
        self._config = config
        self._me = me
        self._rounds = rounds
        self._admission = admission
        self._pacemaker = pacemaker
        self._startup = startup
        self._emission = emission
        self._sign = sign
        self._dirty: set[int] = set()

    @property
    def _may_vote(self) -> bool:
        return self._me is not None and self._startup.may_vote

    # What arrived.

    def start(self) -> None:
        """Take up everything restored: count its votes, certify what is undecided."""
        for found in self._rounds.above_finalized():
            self._dirty.add(found.view)
            for certificate in list(found.certificates.values()):
                self._note_votes(certificate)

    def note_vote(self, vote: Vote, now_ms: int) -> None:
        """Take up an admitted vote; a leader's notarize is its proposal (C4)."""
        found = self._rounds.at(vote.subject.view)
        if vote.subject.kind == NOTARIZE and vote.signer == found.leader:
            if found.proposal is None:
                self._pacemaker.note_block(now_ms)
            found.propose(vote.subject)
        self._dirty.add(vote.subject.view)

    def note_proposed_block(self, vote: Vote) -> None:
        """Note that the block of an accepted proposal came beside it."""
        found = self._rounds.find(vote.subject.view)
        if found is not None and found.proposal == vote.subject:
            found.is_block_available = True

    def note_block_available(self, block_hash: bytes) -> None:
        """Stop asking for a block."""
        for found in self._rounds.above_finalized():
            if found.proposal is not None and found.proposal.block_hash == block_hash:
                found.is_block_available = True

    def note_built(self, view: int, block_hash: bytes | None, now_ms: int) -> None:
        """Propose the block that was built, if its view still wants one (C3)."""
        found = self._rounds.find(view)
        if found is None or view != self._rounds.current_view or not self._may_vote:
            return
        if found.slot is not Slot.BUILDING or NULLIFY in found.own:
            return
        if block_hash is None:
            found.latch(NO_BLOCK)
            return
        found.propose(Subject(NOTARIZE, self._rounds.epoch, view, found.built_on, block_hash))
        found.is_verified = found.is_verify_requested = found.is_block_available = True
        self._pacemaker.note_block(now_ms)

    def note_verified(self, view: int, block_hash: bytes, *, is_valid: bool) -> None:
        """Take up the answer about the block that still stands in the slot (C5)."""
        found = self._rounds.find(view)
        if found is None or found.proposal is None or found.proposal.block_hash != block_hash:
            return
        if is_valid:
            found.is_verified = found.is_block_available = True
        else:
            found.latch(INVALID_PROPOSAL)

    def note_certified(self, view: int, block_hash: bytes, now_ms: int, *, is_valid: bool) -> None:
        """Take up the answer about a notarized block (C9)."""
        found = self._rounds.find(view)
        if found is None or found.certification is not Certification.PENDING:
            return
        if found.certificates[NOTARIZE].subject.block_hash != block_hash:
            return
        self._record(CertifyVerdict(self._rounds.epoch, view, block_hash, VALID if is_valid else INVALID))
        if not is_valid:
            found.certification = Certification.INVALID
            found.latch(NOT_CERTIFIABLE)
            self._emission.trace("consensus.not_certifiable", view=view)
            return
        self._certify(view, now_ms)
        self._dirty.add(view)
        self._enter(view + 1)

    def accept_certificate(self, certificate: QuorumCertificate, now_ms: int) -> None:
        """Take up a checked certificate that is not held yet (C7, C8, C10, C11)."""
        subject = certificate.subject
        found = self._rounds.at(subject.view)
        assert subject.kind not in found.certificates, "a certificate is accepted once"
        found.certificates[subject.kind] = certificate
        self._record(CertificateHeld(certificate))
        if self._me is not None:
            self._emission.emit(Broadcast(CertificateMessage(certificate)))
        self._note_votes(certificate)
        self._dirty.add(subject.view)
        if subject.kind == NOTARIZE:
            if found.proposal is None:
                self._pacemaker.note_block(now_ms)
            found.notarize(certificate)
            self._enter(subject.view)
        elif subject.kind == NULLIFY:
            self._enter(subject.view + 1)
        else:
            self._finalize(certificate, now_ms)

    # What follows.

    def advance(self, now_ms: int) -> None:
        """Do everything that has become possible."""
        self._decide_standing()
        while True:
            if self._dirty:
                view = min(self._dirty)
                self._dirty.discard(view)
                self._settle(view, now_ms)
            elif not self._drive_current(now_ms):
                return

    def _decide_standing(self) -> None:
        if self._me is None or self._startup.may_vote:
            # Who votes goes on voting, until an own vote comes up that the log does not hold.
            return
        amnesia = self._startup.conclude()
        if amnesia is not None:
            self._record(amnesia)
            self._emission.trace("consensus.observing", until_view=amnesia.until_view or 0)
        if self._startup.recover():
            self._record(Amnesia(self._rounds.epoch, 0))
            self._emission.emit(AmnesiaEnded())
        if self._startup.may_vote:
            self._emission.trace("consensus.voting", view=self._rounds.current_view)
            self._dirty.update(found.view for found in self._rounds.above_finalized())

    def _settle(self, view: int, now_ms: int) -> None:
        """Make certificates of votes, certify what is notarized, finalize what is certified."""
        found = self._rounds.find(view)
        if found is None or view <= self._rounds.finalized.view:
            return
        if self._me is not None:
            self._collect(found, now_ms)
        if view <= self._rounds.finalized.view:
            return
        if NOTARIZE in found.certificates and found.certification is Certification.NONE:
            found.certification = Certification.PENDING
            block_hash = found.certificates[NOTARIZE].subject.block_hash
            assert block_hash is not None, "a notarization names a block"
            self._emission.emit(Certify(view, block_hash))
        is_final_here = found.certification is Certification.VALID and not found.is_equivocated
        if is_final_here and self._may_vote and FINALIZE not in found.own and NULLIFY not in found.own:
            proposal = found.certificates[NOTARIZE].subject
            self._vote(Subject(FINALIZE, proposal.epoch, view, proposal.parent_view, proposal.block_hash))

    def _collect(self, found: Round, now_ms: int) -> None:
        for kind in KINDS:
            if kind in found.certificates:
                continue
            certificate = found.votes.find_quorum(kind, self._rounds.validators.quorum)
            if certificate is not None:
                self._admission.check_agreement(certificate)
                self.accept_certificate(certificate, now_ms)

    def _drive_current(self, now_ms: int) -> bool:
        """Act in the current view; tell whether anything changed."""
        current = self._rounds.current
        self._pacemaker.poke(now_ms)
        self._latch_on_leader(current)
        self._check_proposal(current)
        if self._me is None or not self._may_vote:
            return False
        self._build(current, now_ms)
        return self._notarize(current) or self._give_up(current, now_ms)

    def _latch_on_leader(self, current: Round) -> None:
        if current.leader != self._me and current.votes.find(NULLIFY, current.leader) is not None:
            current.latch(LEADER_NULLIFIED)
        if current.is_equivocated and NOTARIZE not in current.own and NOTARIZE not in current.certificates:
            current.latch(LEADER_EQUIVOCATED)

    def _check_proposal(self, current: Round) -> None:
        """C4: what is missing is fetched, only what can never be right is refused."""
        if current.slot is not Slot.PROPOSED or NOTARIZE in current.certificates:
            return
        if self._me is None or NULLIFY in current.own:
            return
        subject = current.proposal
        assert subject is not None, "a proposal stands in the slot"
        assert subject.parent_view is not None, "a proposal names its parent"
        assert subject.block_hash is not None, "a proposal names a block"
        if not self._rounds.finalized.view <= subject.parent_view < current.view:
            current.latch(INVALID_PROPOSAL)
            return
        if not self._rounds.is_certified(subject.parent_view):
            return
        if find_missing_ancestry(self._rounds, subject.parent_view, current.view) is not None:
            return
        # C4: the one request is spent only now that nothing is missing.
        current.is_verify_requested = True
        parent_hash = self._rounds.block_at(subject.parent_view)
        self._emission.emit(Verify(current.view, subject.block_hash, parent_hash, current.leader))

    def _build(self, current: Round, now_ms: int) -> None:
        if current.leader != self._me or current.slot is not Slot.EMPTY or NULLIFY in current.own:
            return
        propose_at_ms = self._pacemaker.propose_at_ms(now_ms)
        if propose_at_ms is None or now_ms < propose_at_ms:
            return
        parent_view = self._rounds.tip_view
        if self._rounds.find_first_gap(parent_view, current.view) is not None:
            return
        current.built_on = parent_view
        self._emission.emit(Build(current.view, parent_view, self._rounds.block_at(parent_view)))

    def _notarize(self, current: Round) -> bool:
        if current.slot is not Slot.VERIFIED or current.is_equivocated:
            return False
        if NOTARIZE in current.own or NULLIFY in current.own:
            return False
        subject = current.proposal
        assert subject is not None, "a verified proposal stands in the slot"
        assert subject.parent_view is not None, "a proposal names its parent"
        if subject.parent_view < self._rounds.finalized.view:
            return False
        self._vote(subject)
        return True

    def _give_up(self, current: Round, now_ms: int) -> bool:
        """C14."""
        if NULLIFY in current.own:
            if current.retry_at_ms is None:
                current.retry_at_ms = now_ms + self._config.retry_interval_ms
            elif now_ms >= current.retry_at_ms:
                current.retry_at_ms = now_ms + self._config.retry_interval_ms
                for message in stuck_messages(self._rounds):
                    self._emission.emit(Broadcast(message))
            return False
        reason = self._pacemaker.find_timeout(now_ms)
        if reason is None or FINALIZE in current.own:
            return False
        self._emission.trace("consensus.nullify", view=current.view, reason=reason)
        self._vote(Subject(NULLIFY, self._rounds.epoch, current.view, None, None))
        return True

    def next_deadline_ms(self) -> int | None:
        """Return when a view that was given up is to be spoken for again."""
        current = self._rounds.find(self._rounds.current_view)
        return None if current is None or not self._may_vote else current.retry_at_ms

    def _vote(self, subject: Subject) -> None:
        assert self._may_vote, "only a validator that remembers its votes signs"
        assert self._me is not None, "observers do not sign"
        assert self._sign is not None, "observers do not sign"
        found = self._rounds.at(subject.view)
        assert subject.view > self._rounds.finalized.view, "nothing is signed at or below the floor"
        assert subject.kind not in found.own, "one vote of a kind in a view"
        if subject.kind != NOTARIZE:
            excluded = FINALIZE if subject.kind == NULLIFY else NULLIFY
            assert excluded not in found.own, "nullify and finalize exclude each other"
        else:
            assert NULLIFY not in found.own, "no notarize after nullify"
            assert subject.view == self._rounds.current_view, "notarize in the current view only"
        vote = Vote(subject, self._me, self._sign(subject))
        found.own[subject.kind] = vote
        self._record(VoteCast(vote))
        self._emission.emit(Broadcast(own_message(self._rounds, vote)))
        self._admission.add_vote(found.votes, vote)
        self._dirty.add(subject.view)

    def _note_votes(self, certificate: QuorumCertificate) -> None:
        """Count the votes in a certificate; an own one that the log does not hold shows amnesia (C18)."""
        found = self._rounds.at(certificate.subject.view)
        for vote in votes_in(certificate):
            if vote.signer == self._me and not self.remembers(vote):
                self.note_forgotten(vote)
            elif not found.votes.is_redundant(vote):
                self._admission.add_vote(found.votes, vote)

    def remembers(self, vote: Vote) -> bool:
        """Tell whether an own vote is in the log, or too old to matter."""
        found = self._rounds.find(vote.subject.view)
        own = None if found is None else found.own.get(vote.subject.kind)
        is_settled = vote.subject.view <= self._rounds.finalized.view
        return is_settled or (own is not None and own.subject == vote.subject)

    def note_forgotten(self, vote: Vote) -> None:
        """React to a genuine own vote that the log does not hold (C18)."""
        amnesia = self._startup.lost_memory(vote.subject.view)
        if amnesia is not None:
            self._record(amnesia)
            self._emission.trace("consensus.amnesia", view=vote.subject.view, kind=vote.subject.kind)

    def _certify(self, view: int, now_ms: int) -> None:
        tip_view = self._rounds.tip_view
        self._rounds.certify(view)
        if self._rounds.tip_view > tip_view:
            self._pacemaker.note_certified(now_ms)

    def _finalize(self, certificate: QuorumCertificate, now_ms: int) -> None:
        """C11."""
        view = certificate.subject.view
        for found in self._rounds.above_finalized():
            if found.view <= view and found.certification is Certification.PENDING:
                found.certification = Certification.NONE
                self._emission.emit(CancelCertify(found.view))
        tip_view = self._rounds.tip_view
        self._rounds.finalize(certificate)
        if self._rounds.tip_view > tip_view:
            self._pacemaker.note_certified(now_ms)
        self._pacemaker.note_finality(now_ms)
        self._record(Floor(self._rounds.epoch, view))
        self._emission.emit(Finalized(certificate))
        self._enter(view + 1)
        self._decide_standing()

    def _enter(self, view: int) -> None:
        if self._rounds.enter(view):
            self._emission.trace("consensus.view", view=view)

    def _record(self, record: JournalRecord) -> None:
        # Observers promise nothing and keep no journal; their finality is in the store.
        if self._me is not None:
            self._emission.record(record)
