"""Simplex: one epoch of agreement, as a function of events and time (docs/consensus.md).

Rule 1: `handle` returns all that is to be done about an event; a refused event changes nothing else.
Rule 2: after each event everything that has become possible is done, so no wake-up can be lost.
Rule 3: after `handle`, the next deadline lies in the future.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

from ledger.rules.certificates import FINALIZE, QuorumCertificate, Subject, ValidatorSet, Vote
from node.consensus.admission import Admission, Reception
from node.consensus.config import Config
from node.consensus.effects import BAD_ANSWER, Broadcast, Effect, Finalized, Send
from node.consensus.emission import Emission
from node.consensus.events import (
    BlockAvailable,
    Built,
    Certified,
    Event,
    PeerDown,
    PeerUp,
    Received,
    Started,
    TimerFired,
    Verified,
    WorkChanged,
)
from node.consensus.journal import Amnesia, JournalRecord
from node.consensus.messages import (
    BlockProposalMessage,
    CertificateMessage,
    CertificateRequest,
    LatestVoteAnswer,
    LatestVoteRequest,
    Message,
    StatusMessage,
    VoteMessage,
    epoch_of,
)
from node.consensus.pacemaker import Pacemaker
from node.consensus.resend import (
    answer_latest_vote,
    catch_up_messages,
    own_votes_above_finality,
    standstill_messages,
)
from node.consensus.resolver import Resolver, find_answer, find_wants
from node.consensus.restore import (
    find_amnesia,
    find_floor,
    find_highest_floor,
    restore_rounds,
    take_snapshot,
)
from node.consensus.rounds import FinalizedTip, Rounds
from node.consensus.startup import Participation, Startup
from node.consensus.voter import Voter


class Simplex:
    """One validator's (or, with `me` None, one observer's) part in one epoch."""

    def __init__(
        self,
        config: Config,
        validators: ValidatorSet,
        me: int | None,
        epoch: int,
        journal: Sequence[JournalRecord],
        finalized: FinalizedTip,
        sign: Callable[[Subject], bytes] | None,
        verify: Callable[[Vote | QuorumCertificate], bool],
    ) -> None:
        """Restore from the journal. `sign` is deterministic; `sign` and `verify` know chain id and keys."""
        assert (me is None) == (sign is None), "validators sign, observers do not"
        assert me is None or 0 <= me < len(validators), "an index into the set"
        self.sign, self.verify = sign, verify
        """What the core was given; all else that it is made of is data."""
        self._config = config
        self._me = me
        self._stored_view = finalized.view
        self._rounds = Rounds(validators, epoch, find_floor(journal, epoch, finalized))
        self._emission = Emission()
        self._admission = Admission(self._rounds, verify, self._emission)
        self._pacemaker = Pacemaker(config, self._rounds, me)
        self._resolver = Resolver(config, epoch, me)
        amnesia = find_amnesia(journal, epoch)
        self._startup = Startup(config, self._rounds, amnesia, find_highest_floor(journal, epoch))
        self._voter = Voter(
            config,
            me,
            self._rounds,
            self._admission,
            self._pacemaker,
            self._startup,
            self._emission,
            sign,
        )
        restore_rounds(self._rounds, journal)
        self._is_started = False
        self._now_ms = 0
        self._standstill_at_ms = 0
        self._standstill_finalized_view = finalized.view
        self._standstill_from_view = 0
        self._helped_at_ms: dict[int, int] = {}
        self._is_deadline_known = False
        self._deadline_ms: int | None = None

    @property
    def epoch(self) -> int:
        """The epoch that this core serves."""
        return self._rounds.epoch

    @property
    def validators(self) -> ValidatorSet:
        """The validators of the epoch, in order."""
        return self._rounds.validators

    @property
    def finalized(self) -> FinalizedTip:
        """The last final view, its block and certificate."""
        return self._rounds.finalized

    @property
    def current_view(self) -> int:
        """The view this node is in."""
        return self._rounds.current_view

    @property
    def standing(self) -> Participation:
        """Whether this validator votes, asks for its latest votes, or observes after amnesia."""
        return self._startup.standing

    @property
    def amnesia(self) -> Amnesia | None:
        """What this validator may have forgotten, and until when it observes; None where it forgot nothing."""
        return self._startup.amnesia

    @property
    def unanswered(self) -> tuple[int, ...]:
        """The other validators that have not answered the question at the start."""
        others = (peer for peer in range(len(self.validators)) if peer != self._me)
        return tuple(peer for peer in others if not self._startup.has_answered(peer))

    @property
    def rounds_count(self) -> int:
        """How many views are held in memory."""
        return len(self._rounds)

    def journal_snapshot(self) -> tuple[JournalRecord, ...]:
        """Return the records that restore the present state: what a compacted vote log holds."""
        return take_snapshot(self._rounds, self._startup.amnesia)

    def next_deadline_ms(self) -> int | None:
        """Return when `TimerFired` is due, or None. Nothing but `handle` changes it."""
        if not self._is_deadline_known:
            self._deadline_ms, self._is_deadline_known = self._find_deadline_ms(), True
        return self._deadline_ms

    def _find_deadline_ms(self) -> int | None:
        if self._me is None:
            return None
        earliest_ms = self._standstill_at_ms
        for deadline_ms in (
            self._pacemaker.next_deadline_ms(self._now_ms),
            self._voter.next_deadline_ms(),
            self._resolver.next_deadline_ms(),
            self._startup.next_deadline_ms(),
        ):
            if deadline_ms is not None and deadline_ms < earliest_ms:
                earliest_ms = deadline_ms
        return earliest_ms

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Take up one event and return what is to be done, in order."""
        assert now_ms >= self._now_ms, "the clock is monotonic"
        assert self._is_started != isinstance(event, Started), "Started comes first, once"
        self._now_ms = now_ms
        self._is_deadline_known = False
        match event:
            case Started():
                self._start(now_ms)
            case Received(peer, message):
                self._receive(peer, message, now_ms)
            case TimerFired():
                pass
            case Built(view, block_hash):
                self._voter.note_built(view, block_hash, now_ms)
            case Verified(view, block_hash, is_valid):
                self._voter.note_verified(view, block_hash, is_valid=is_valid)
            case Certified(view, block_hash, is_valid):
                self._voter.note_certified(view, block_hash, now_ms, is_valid=is_valid)
            case WorkChanged(has_work):
                self._pacemaker.set_work(has_work)
            case PeerUp(peer):
                self._connect(peer, now_ms)
            case PeerDown(peer):
                self._disconnect(peer)
            case BlockAvailable(block_hash):
                self._voter.note_block_available(block_hash)
            case _:
                assert_never(event)
        self._voter.advance(now_ms)
        if self._me is not None:
            self._ask(now_ms)
            self._speak(now_ms)
        return self._emission.drain()

    def _start(self, now_ms: int) -> None:
        """C1."""
        self._is_started = True
        self._pacemaker.start(now_ms)
        self._standstill_at_ms = now_ms + self._config.standstill_interval_ms
        certificate = self._rounds.finalized.certificate
        if self._rounds.finalized.view > self._stored_view and certificate is not None:
            self._emission.emit(Finalized(certificate))
        self._voter.start()

    def _connect(self, peer: int, now_ms: int) -> None:
        if self._me is None or peer == self._me:
            return
        self._resolver.connect(peer)
        self._pacemaker.note_heard(peer, now_ms)
        self._emission.emit(Send(peer, self._status(now_ms)))
        self._pacemaker.note_status_shown(now_ms)
        for message in own_votes_above_finality(self._rounds):
            self._emission.emit(Send(peer, message))
        if self._startup.is_unanswered(peer):
            self._emission.emit(Send(peer, LatestVoteRequest(self._rounds.epoch)))

    def _disconnect(self, peer: int) -> None:
        self._resolver.disconnect(peer)
        self._pacemaker.forget(peer)
        self._emission.forgive(peer)

    # Messages.

    def _receive(self, peer: int | None, message: Message, now_ms: int) -> None:
        if self._me is not None and peer == self._me:
            return  # The network refuses connections with our own key; nothing is believed on one.
        if epoch_of(message) != self._rounds.epoch:
            # C19: honest nodes stand on either side of a handover.
            self._emission.trace("consensus.other_epoch", epoch=epoch_of(message))
            return
        if self._me is None or peer is None:
            # C20, and what observers tell validators: finalizations prove themselves.
            if isinstance(message, CertificateMessage) and message.certificate.subject.kind == FINALIZE:
                self._receive_certificate(peer, message.certificate, now_ms)
            return
        self._pacemaker.note_heard(peer, now_ms)
        match message:
            case BlockProposalMessage(vote):
                if self._admission.is_proposal(peer, vote):
                    self._receive_vote(peer, vote, now_ms, has_block=True)
            case VoteMessage(vote):
                self._receive_vote(peer, vote, now_ms, has_block=False)
            case CertificateMessage(certificate):
                self._receive_certificate(peer, certificate, now_ms)
            case StatusMessage():
                self._receive_status(peer, message, now_ms)
            case CertificateRequest():
                answer = find_answer(self._rounds, message)
                if self._resolver.may_serve(peer, now_ms) and answer is not None:
                    self._emission.emit(Send(peer, answer))
            case LatestVoteRequest():
                if self._resolver.may_serve(peer, now_ms):
                    self._emission.emit(Send(peer, answer_latest_vote(self._rounds, peer)))
            case LatestVoteAnswer():
                if self._resolver.may_serve(peer, now_ms):
                    self._receive_answer(peer, message, now_ms)
            case _:
                assert_never(message)

    def _receive_vote(self, peer: int, vote: Vote, now_ms: int, *, has_block: bool) -> None:
        if self._admission.admit_vote(peer, vote):
            self._voter.note_vote(vote, now_ms)
        if has_block:
            self._voter.note_proposed_block(vote)

    def _receive_certificate(self, peer: int | None, certificate: QuorumCertificate, now_ms: int) -> bool:
        verdict = self._admission.admit_certificate(peer, certificate)
        if verdict is Reception.NEW:
            self._voter.accept_certificate(certificate, now_ms)
        return verdict is not Reception.BAD

    def _receive_status(self, peer: int, status: StatusMessage, now_ms: int) -> None:
        """C17. Help, in either direction, is given once in a fetch timeout."""
        self._pacemaker.note_status(peer, status, now_ms)
        if now_ms < self._helped_at_ms.get(peer, -1):
            return
        messages = catch_up_messages(
            self._rounds, finalized_view=status.finalized_view, current_view=status.current_view
        )
        is_ahead = (
            status.finalized_view > self._rounds.finalized.view
            or status.current_view > self._rounds.current_view
        )
        if is_ahead:
            messages.append(self._status(now_ms))
            self._pacemaker.note_status_shown(now_ms)
        for message in messages:
            self._emission.emit(Send(peer, message))
        if messages:
            self._helped_at_ms[peer] = now_ms + self._config.fetch_timeout_ms

    def _receive_answer(self, peer: int, answer: LatestVoteAnswer, now_ms: int) -> None:
        """C18: certificates first, then votes; an answer with anything wrong in it does not count."""
        epochs = {certificate.subject.epoch for certificate in answer.certificates}
        epochs |= {vote.subject.epoch for vote in answer.votes}
        if epochs - {self._rounds.epoch} or any(vote.signer != self._me for vote in answer.votes):
            self._emission.punish(peer, BAD_ANSWER)
            return
        for certificate in answer.certificates:
            if not self._receive_certificate(peer, certificate, now_ms):
                return
        for vote in answer.votes:
            if self._voter.remembers(vote):
                continue
            if not self._admission.is_genuine(peer, vote):
                return
            self._voter.note_forgotten(vote)
        highest_view = max((certificate.subject.view for certificate in answer.certificates), default=0)
        self._startup.note_answer(peer, highest_view)

    # What is due.

    def _ask(self, now_ms: int) -> None:
        for effect in self._resolver.request(find_wants(self._rounds), now_ms):
            self._emission.emit(effect)
        for effect in self._resolver.request_blocks(self._rounds, now_ms):
            self._emission.emit(effect)
        for peer in self._startup.take_unanswered(self._resolver.peers_up, now_ms):
            self._emission.emit(Send(peer, LatestVoteRequest(self._rounds.epoch)))

    def _speak(self, now_ms: int) -> None:
        if self._pacemaker.is_status_due(now_ms):
            self._emission.emit(Broadcast(self._status(now_ms)))
            self._pacemaker.note_status_sent(now_ms)
        if self._standstill_finalized_view != self._rounds.finalized.view:
            self._standstill_finalized_view = self._rounds.finalized.view
            self._standstill_at_ms = now_ms + self._config.standstill_interval_ms
            self._standstill_from_view = 0
        elif now_ms >= self._standstill_at_ms:
            # C16.
            self._standstill_at_ms = now_ms + self._config.standstill_interval_ms
            messages, self._standstill_from_view = standstill_messages(
                self._rounds, from_view=self._standstill_from_view
            )
            for message in messages:
                self._emission.emit(Broadcast(message))

    def _status(self, now_ms: int) -> StatusMessage:
        return StatusMessage(
            self._rounds.epoch,
            self._rounds.finalized.view,
            self._rounds.current_view,
            self._pacemaker.pace(now_ms),
        )
