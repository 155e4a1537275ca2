"""One core alone, with hands on everything around it: for tests of single rules."""

from collections.abc import Sequence
from typing import TypeVar

from ledger.rules.certificates import NOTARIZE, NULLIFY, QuorumCertificate, SignedBy, Subject, Vote
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.effects import Broadcast, Effect, Persist, Send
from node.consensus.events import Built, Certified, Event, PeerUp, Received, Started, TimerFired, Verified
from node.consensus.journal import JournalRecord
from node.consensus.messages import (
    BlockProposalMessage,
    CertificateMessage,
    LatestVoteAnswer,
    LatestVoteRequest,
    Message,
    VoteMessage,
)
from node.consensus.rounds import FinalizedTip
from tests.campaigns.simulation.core.signatures import make_sign, make_validators, signature_of, verify

EPOCH = 0
GENESIS = b"\0" * 32

E = TypeVar("E")


def block_of(view: int) -> bytes:
    """Return the hash of the usual block of a view."""
    return view.to_bytes(32, "big")


def subject_of(kind: str, view: int, *, parent: int | None = None, block: bytes | None = None) -> Subject:
    """Return a subject: of the view's usual block, on the view before, unless said otherwise."""
    if kind == NULLIFY:
        return Subject(NULLIFY, EPOCH, view, None, None)
    return Subject(kind, EPOCH, view, view - 1 if parent is None else parent, block or block_of(view))


def vote_of(signer: int, subject: Subject) -> Vote:
    """Return a genuine vote."""
    return Vote(subject, signer, signature_of(signer, subject))


def certificate_of(subject: Subject, signers: Sequence[int] = (0, 1, 2)) -> QuorumCertificate:
    """Return a genuine certificate."""
    return QuorumCertificate(
        subject, tuple(SignedBy(signer, signature_of(signer, subject)) for signer in signers)
    )


class Single:
    """Validator 3 of 4 unless said otherwise, in epoch 0: view v is led by v mod 4."""

    def __init__(
        self,
        *,
        me: int | None = 3,
        count: int = 4,
        journal: Sequence[JournalRecord] = (),
        finalized: FinalizedTip | None = None,
        config: Config | None = None,
        is_answered: bool = True,
    ) -> None:
        self.me = me
        self.now_ms = 10_000
        self.journal: list[JournalRecord] = list(journal)
        self.config = config or Config()
        self.core = Simplex(
            self.config,
            make_validators(count),
            me,
            EPOCH,
            journal,
            finalized or FinalizedTip(0, GENESIS, None),
            None if me is None else make_sign(me),
            verify,
        )
        self.started = self.do(Started())
        self.others = [peer for peer in range(count) if peer != me]
        if is_answered:
            for peer in self.others:
                self.do(PeerUp(peer))
                self.receive(peer, LatestVoteAnswer(EPOCH, (), ()))

    def do(self, event: Event) -> list[Effect]:
        """Hand over one event; keep what is persisted."""
        effects = self.core.handle(event, self.now_ms)
        for effect in effects:
            if isinstance(effect, Persist):
                self.journal.extend(effect.records)
        return effects

    def receive(self, peer: int | None, message: Message) -> list[Effect]:
        """Receive one message."""
        return self.do(Received(peer, message))

    def wait(self, duration_ms: int) -> list[Effect]:
        """Let time pass, firing each deadline on its time; return all effects."""
        effects: list[Effect] = []
        end_ms = self.now_ms + duration_ms
        while True:
            deadline_ms = self.core.next_deadline_ms()
            if deadline_ms is None or deadline_ms > end_ms:
                self.now_ms = end_ms
                return effects
            assert deadline_ms > self.now_ms, "deadlines lie in the future"
            self.now_ms = deadline_ms
            effects.extend(self.do(TimerFired()))

    def propose(self, view: int, *, parent: int | None = None, block: bytes | None = None) -> list[Effect]:
        """Receive the leader's proposal."""
        leader = view % 4
        vote = vote_of(leader, subject_of(NOTARIZE, view, parent=parent, block=block))
        return self.receive(leader, BlockProposalMessage(vote))

    def certify(self, subject: Subject, *, by: Sequence[int] | None = None) -> list[Effect]:
        """Receive a certificate, signed by the others unless said otherwise."""
        certificate = certificate_of(subject, self.others if by is None else by)
        return self.receive(self.others[0], CertificateMessage(certificate))

    def pass_view(self, view: int, *, parent: int | None = None) -> list[Effect]:
        """Live through a view that is notarized and certified."""
        self.certify(subject_of(NOTARIZE, view, parent=parent))
        return self.do(Certified(view, block_of(view), True))

    def verified(self, view: int, *, is_valid: bool = True) -> list[Effect]:
        """Answer a `Verify`."""
        return self.do(Verified(view, block_of(view), is_valid))

    def built(self, view: int) -> list[Effect]:
        """Answer a `Build`."""
        return self.do(Built(view, block_of(view)))

    def receive_vote(self, signer: int, subject: Subject) -> list[Effect]:
        """Receive a genuine vote from its signer."""
        return self.receive(signer, VoteMessage(vote_of(signer, subject)))

    def restart(self, *, is_answered: bool = True, finalized: FinalizedTip | None = None) -> "Single":
        """Return the same validator, restored from what it persisted."""
        return Single(me=self.me, journal=self.journal, finalized=finalized, is_answered=is_answered)

    def state(self) -> tuple[int, int, int, tuple[JournalRecord, ...]]:
        """Return what a refused event must not change."""
        core = self.core
        return core.current_view, core.finalized.view, core.rounds_count, core.journal_snapshot()


def of_kind(effects: Sequence[Effect], kind: type[E]) -> list[E]:
    """Return the effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def votes_sent(effects: Sequence[Effect], kind: str | None = None) -> list[Vote]:
    """Return the votes that are broadcast."""
    return [
        effect.message.vote
        for effect in effects
        if isinstance(effect, Broadcast)
        and isinstance(effect.message, VoteMessage | BlockProposalMessage)
        and kind in (None, effect.message.vote.subject.kind)
    ]


def sent_to(effects: Sequence[Effect], peer: int, kind: type[E]) -> list[E]:
    """Return the messages of a class that are sent to one peer."""
    return [
        effect.message
        for effect in effects
        if isinstance(effect, Send) and effect.peer == peer and isinstance(effect.message, kind)
    ]


def asks(effects: Sequence[Effect]) -> list[int]:
    """Return the peers that are asked for this validator's latest votes."""
    return [
        effect.peer
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, LatestVoteRequest)
    ]
