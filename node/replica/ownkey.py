"""Does somebody else sign with this validator's key? (docs/operators.md, Is it well)

A copy of a home that runs elsewhere signs with the same key. Others see two votes that exclude each other; the node
itself sees a vote of its own that it never cast, in a quorum certificate or in a report of misbehaviour.

Rule 1: a vote that this node may have forgotten is no sign. Once the question at the start is answered, forgotten votes
lie at or below one view (docs/consensus.md, C18): a vote above it, that was not cast here, was cast by somebody else.
Rule 2: where the question of this epoch is not answered, nothing is a sign.
"""

from collections.abc import Iterable
from typing import Final

from ledger.rules.certificates import Subject, Vote
from node.consensus.core import Simplex
from node.consensus.journal import CertificateHeld, JournalRecord, VoteCast
from node.consensus.startup import Participation

CAST_VIEWS_MAX: Final = 4_096
"""Of how many views the own votes are remembered. Certificates come for views near the newest."""


class OwnKey:
    """What one validator's key was used for, in one run of its node."""

    def __init__(self) -> None:
        self.misused_count = 0
        self.misused_how: str | None = None
        """How it showed last that somebody else has the key; None where it never did."""
        self._epoch = 0
        self._me: int | None = None
        self._forgotten_view_max: int | None = None
        self._cast: dict[int, set[Subject]] = {}

    def begin(self, core: Simplex, me: int | None) -> None:
        """Look at this core's votes from now on."""
        self._epoch, self._me = core.epoch, me
        self._forgotten_view_max = None
        self._cast = {}
        for record in core.journal_snapshot():
            if isinstance(record, VoteCast):
                self._remember(record.vote.subject)

    def note_decided(self, core: Simplex) -> None:
        """Take note of whether the question at the start is answered."""
        if self._forgotten_view_max is not None:
            return
        match core.standing:
            case Participation.VOTING:
                self._forgotten_view_max = core.current_view + 1
            case Participation.OBSERVING:
                assert core.amnesia is not None, "who observes has amnesia"
                self._forgotten_view_max = core.amnesia.until_view
            case Participation.ASKING:
                pass

    def note_persisted(self, records: Iterable[JournalRecord]) -> None:
        """Take note of votes that this node casts, and of certificates with votes of its key."""
        kept = tuple(records)
        for record in kept:
            if isinstance(record, VoteCast):
                self._remember(record.vote.subject)
        for record in kept:
            if isinstance(record, CertificateHeld):
                certificate = record.certificate
                if self._me in {each.signer for each in certificate.signatures}:
                    self._judge(certificate.subject, "a quorum certificate")

    def note_reported(self, first: Vote, second: Vote) -> None:
        """Take note that this validator's misbehaviour is on record."""
        for vote in (first, second):
            self._judge(vote.subject, "a report of misbehaviour on the chain")

    def _remember(self, subject: Subject) -> None:
        if subject.epoch != self._epoch:
            return
        self._cast.setdefault(subject.view, set()).add(subject)
        while len(self._cast) > CAST_VIEWS_MAX:
            del self._cast[min(self._cast)]

    def _judge(self, subject: Subject, where: str) -> None:
        bound = self._forgotten_view_max
        if self._me is None or bound is None or subject.epoch != self._epoch or subject.view <= bound:
            return
        if len(self._cast) == CAST_VIEWS_MAX and subject.view < min(self._cast):
            return
        if subject in self._cast.get(subject.view, ()):
            return
        self.misused_count += 1
        self.misused_how = (
            f"{where} has a {subject.kind} of this validator's key in view {subject.view} of epoch {subject.epoch}, "
            "which this node did not sign: another process has the key"
        )
