"""What is known about each view above finality (docs/consensus.md, What a node remembers).

Rule 1: current view, finality and tip only grow.
Rule 2: a round exists for a view that a vote in the admission window or a verified certificate speaks of, and
is dropped RETENTION_VIEWS below finality. Nullifications above finality are never dropped.
"""

from dataclasses import dataclass, field
from typing import Final

from ledger.rules.certificates import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    QuorumCertificate,
    Subject,
    ValidatorSet,
    Vote,
)
from ledger.rules.leaders import leader_index
from node.consensus.config import RETENTION_VIEWS
from node.consensus.viewstates import Certification, Said, Slot, ViewClock
from node.consensus.votebook import VoteBook

_SAID: Final = {
    frozenset[str](): Said.NOTHING,
    frozenset({NOTARIZE}): Said.NOTARIZE,
    frozenset({NULLIFY}): Said.NULLIFY,
    frozenset({NOTARIZE, NULLIFY}): Said.NOTARIZE_NULLIFY,
    frozenset({FINALIZE}): Said.FINALIZE,
    frozenset({NOTARIZE, FINALIZE}): Said.NOTARIZE_FINALIZE,
}


@dataclass(frozen=True, slots=True)
class FinalizedTip:
    """The last final view and its block; without certificate for the block that opened the epoch."""

    view: int
    block_hash: bytes
    certificate: QuorumCertificate | None


@dataclass(slots=True)
class Round:
    """One view, seen from here. `viewstates` lists which combinations of all this there are."""

    view: int
    leader: int
    votes: VoteBook = field(default_factory=VoteBook)
    certificates: dict[str, QuorumCertificate] = field(default_factory=dict)
    own: dict[str, Vote] = field(default_factory=dict)
    certification: Certification = Certification.NONE
    # The proposal slot: a notarize subject, from the leader's vote or from a certificate.
    proposal: Subject | None = None
    is_verified: bool = False
    is_verify_requested: bool = False
    is_equivocated: bool = False
    is_block_available: bool = False
    # The parent this node builds on in this view, once Build was emitted.
    built_on: int | None = None
    # Clocks (C12), while this is the current view.
    clock_started_ms: int | None = None
    leader_deadline_ms: int | None = None
    advance_deadline_ms: int | None = None
    retry_at_ms: int | None = None
    latched: str | None = None

    @property
    def slot(self) -> Slot:
        """How far the proposal has come on its way to this node's vote."""
        if self.proposal is None:
            return Slot.EMPTY if self.built_on is None else Slot.BUILDING
        if self.is_verified:
            return Slot.VERIFIED
        return Slot.CHECKING if self.is_verify_requested else Slot.PROPOSED

    @property
    def said(self) -> Said:
        """What this node signed in this view."""
        return _SAID[frozenset(self.own)]

    @property
    def clock(self) -> ViewClock:
        """What the clock waits for."""
        if self.clock_started_ms is None:
            return ViewClock.STOPPED
        return ViewClock.ADVANCE if self.leader_deadline_ms is None else ViewClock.LEADER

    @property
    def is_nullified(self) -> bool:
        """Tell whether a quorum skipped this view."""
        return NULLIFY in self.certificates

    @property
    def is_certified(self) -> bool:
        """Tell whether blocks may be built on this view's block."""
        return self.certification is Certification.VALID or FINALIZE in self.certificates

    def latch(self, reason: str) -> None:
        """Note the first reason to give this view up at once."""
        if self.latched is None:
            self.latched = reason

    def propose(self, subject: Subject) -> None:
        """Put the leader's proposal into the slot; a second, different one shows equivocation (C5)."""
        if self.proposal is None:
            self.proposal = subject
        elif self.proposal != subject:
            self.is_equivocated = True

    def notarize(self, certificate: QuorumCertificate) -> None:
        """Let the notarized block take the slot (C8)."""
        subject = certificate.subject
        if self.proposal != subject:
            self.is_equivocated = self.is_equivocated or self.proposal is not None
            self.proposal = subject
            self.is_verified = False
            self.is_verify_requested = False
            self.is_block_available = False


class Rounds:
    """All rounds, the current view, the last final one and the tip."""

    __slots__ = ("_rounds", "current_view", "epoch", "finalized", "tip_view", "validators")

    def __init__(self, validators: ValidatorSet, epoch: int, finalized: FinalizedTip) -> None:
        self.validators = validators
        self.epoch = epoch
        self.finalized = finalized
        self.tip_view = finalized.view
        self.current_view = finalized.view + 1
        self._rounds: dict[int, Round] = {}

    def __len__(self) -> int:
        return len(self._rounds)

    @property
    def current(self) -> Round:
        """The round of the current view."""
        found = self._rounds.get(self.current_view)
        return self.at(self.current_view) if found is None else found

    def leader_of(self, view: int) -> int:
        """Return the validator that leads a view."""
        return leader_index(epoch=self.epoch, view=view, validators_count=len(self.validators))

    def at(self, view: int) -> Round:
        """Return the round of a view, new if need be. Callers have bounded the view (rule 2)."""
        assert view >= self.finalized.view - RETENTION_VIEWS, "a pruned round"
        found = self._rounds.get(view)
        if found is None:
            found = self._rounds[view] = Round(view, self.leader_of(view))
        return found

    def find(self, view: int) -> Round | None:
        """Return the round of a view if there is one."""
        return self._rounds.get(view)

    def admits_votes(self, view: int) -> bool:
        """Tell whether single votes for this view are wanted (C6)."""
        return max(1, self.finalized.view - RETENTION_VIEWS) <= view <= self.current_view + 1

    def above_finalized(self) -> list[Round]:
        """Return the rounds above finality, lowest first."""
        final_view = self.finalized.view
        return [self._rounds[view] for view in sorted([view for view in self._rounds if view > final_view])]

    def newest_first(self) -> list[Round]:
        """Return all rounds, highest first."""
        return [self._rounds[view] for view in sorted(self._rounds, reverse=True)]

    def is_certified(self, view: int) -> bool:
        """Tell whether a block of a view from finality on may be built on."""
        if view == self.finalized.view:
            return True
        found = self._rounds.get(view)
        return found is not None and found.is_certified

    def is_nullified(self, view: int) -> bool:
        """Tell whether a view is proven to be skipped."""
        found = self._rounds.get(view)
        return found is not None and found.is_nullified

    def block_at(self, view: int) -> bytes:
        """Return the block hash of a certified view."""
        assert self.is_certified(view), "blocks are known by certificates only"
        if view == self.finalized.view:
            return self.finalized.block_hash
        block_hash = self._rounds[view].certificates[NOTARIZE].subject.block_hash
        assert block_hash is not None, "a notarization names a block"
        return block_hash

    def find_first_gap(self, after: int, before: int) -> int | None:
        """Return the lowest view strictly between two that is not proven to be skipped."""
        for view in range(after + 1, before):
            if not self.is_nullified(view):
                return view
        return None

    def enter(self, view: int) -> bool:
        """Go on to a view if it lies ahead; tell whether it did."""
        if view <= self.current_view:
            return False
        self.current_view = view
        return True

    def certify(self, view: int) -> None:
        """Note a view as certified."""
        self.at(view).certification = Certification.VALID
        self.tip_view = max(self.tip_view, view)

    def finalize(self, certificate: QuorumCertificate) -> None:
        """Raise finality and drop rounds far below it (C11)."""
        subject = certificate.subject
        assert subject.block_hash is not None, "a finalization names a block"
        assert subject.view > self.finalized.view, "finality only grows"
        self.finalized = FinalizedTip(subject.view, subject.block_hash, certificate)
        self.tip_view = max(self.tip_view, subject.view)
        lowest = subject.view - RETENTION_VIEWS
        for view in [view for view in self._rounds if view < lowest]:
            del self._rounds[view]

    def highest_certificate(self) -> QuorumCertificate | None:
        """Return the certificate of the highest view held, which is at least the current view less one."""
        for found in self.newest_first():
            for kind in (FINALIZE, NULLIFY, NOTARIZE):
                if kind in found.certificates and found.view >= self.finalized.view:
                    return found.certificates[kind]
        return self.finalized.certificate

    def opening_certificate(self) -> QuorumCertificate | None:
        """Return the best certificate that lets a peer into the current view (C14)."""
        before = self.current_view - 1
        if before == self.finalized.view:
            return self.finalized.certificate
        for view in (before, self.current_view):
            found = self._rounds.get(view)
            for kind in (NULLIFY, NOTARIZE):
                if found is not None and kind in found.certificates:
                    return found.certificates[kind]
        return None
