"""An honest validator while it runs: performs what its core asks for, and may crash at any point of that.

Rule 1: effects are performed in the order given; a crash may fall before, between and after them. What was
persisted and what was said survives it, nothing else does.
Rule 2: actions name no validator but by part, so that those with equal parts can stand for one another.
"""

import pickle
from collections.abc import Iterator, Sequence
from functools import partial

from ledger.rules.certificates import NOTARIZE, NULLIFY, QuorumCertificate, SignedBy, Subject, Vote
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.effects import (
    Broadcast,
    Build,
    CancelCertify,
    Certify,
    Effect,
    Misbehaviour,
    Persist,
    Send,
    Verify,
)
from node.consensus.events import (
    Built,
    Certified,
    Event,
    PeerUp,
    Received,
    Started,
    TimerFired,
    Verified,
    WorkChanged,
)
from node.consensus.journal import CertificateHeld, JournalRecord
from node.consensus.messages import BlockProposalMessage, CertificateMessage, LatestVoteAnswer, VoteMessage
from tests.campaigns.exploration.node import (
    EPOCH,
    GENESIS,
    VALIDATORS,
    VALIDATORS_COUNT,
    Node,
    block_hash,
    copy_out,
    held_certificates,
    leader_of,
    position_key,
    round_keys,
)
from tests.campaigns.exploration.views import find_wrong_steps, views_of
from tests.campaigns.simulation.core.signatures import signature_of, verify

# Longer than every timeout with its backoff, and shorter than the leader timeout, respectively.
TIMEOUT_MS = 100_000
TICK_MS = 30

# What happens, to which block or vote, how many honest others signed (or in which view), and the Byzantine one.
Action = tuple[str, Subject | None, int, bool]


class CoreStopped(AssertionError):
    """The core itself raised: an assertion of its own, or certificates that exclude each other."""


class Process:
    """A node while it runs: performs effects and keeps the points at which it may crash."""

    def __init__(self, node: Node, byzantine: int) -> None:
        self.node = node
        self.byzantine = byzantine
        self.core: Simplex = pickle.loads(node.image)
        self.clock_ms = node.clock_ms
        self.journal = list(node.journal)
        self.said = set(node.said)
        self.pending = set(node.pending)
        self.accuses_honest = node.accuses_honest
        self.wrong_view = node.wrong_view
        self.crash_points = [(tuple(self.journal), frozenset(self.said))]

    @classmethod
    def boot(
        cls,
        index: int,
        byzantine: int,
        *,
        journal: Sequence[JournalRecord] = (),
        said: frozenset[Subject] = frozenset(),
        clock_ms: int = 0,
        has_crashed: bool = False,
    ) -> Node:
        """Start a validator from its journal, answer the question of C18, and give it work."""
        core = Simplex(
            Config(),
            VALIDATORS,
            index,
            EPOCH,
            journal,
            GENESIS,
            partial(signature_of, index),
            verify,
        )
        blank = Node(
            index,
            copy_out(core),
            clock_ms,
            tuple(journal),
            said,
            frozenset(),
            has_crashed,
            False,
            1,
            0,
            frozenset(),
            (),
            (),
        )
        process = cls(blank, byzantine)
        others = [peer for peer in range(VALIDATORS_COUNT) if peer != index]
        events: list[Event] = [Started(), *(PeerUp(peer) for peer in others), WorkChanged(True)]
        events += [Received(peer, LatestVoteAnswer(EPOCH, (), ())) for peer in others]
        for event in events:
            process.handle(event)
        return process.freeze()

    def distinct_crash_points(self) -> list[int]:
        """Return the first of the points at which the same was persisted and said."""
        sizes = [(len(journal), len(said)) for journal, said in self.crash_points]
        return [point for point, size in enumerate(sizes) if size not in sizes[:point]]

    def restart(self, point: int) -> Node:
        """Return the node after a crash at one of the points that this process went through."""
        journal, said = self.crash_points[point]
        # Certificates are relayed from the journal, and with them the own signature in them.
        relayed = {
            record.certificate.subject
            for record in journal
            if isinstance(record, CertificateHeld)
            and any(signed.signer == self.node.index for signed in record.certificate.signatures)
        }
        return Process.boot(
            self.node.index,
            self.byzantine,
            journal=journal,
            said=said | relayed,
            clock_ms=self.clock_ms,
            has_crashed=True,
        )

    def handle(self, event: Event) -> None:
        """Give the core one event and perform what it asks for."""
        before, _ = views_of(self.core)
        try:
            effects = self.core.handle(event, self.clock_ms)
        except Exception as error:
            raise CoreStopped(f"the core stopped: {type(error).__name__}: {error}") from error
        after, wrong = views_of(self.core)
        if wrong is None and not isinstance(event, Started):
            wrong = find_wrong_steps(before, after)
        self.wrong_view = self.wrong_view or wrong
        for effect in effects:
            self._perform(effect)
            self.crash_points.append((tuple(self.journal), frozenset(self.said)))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Persist(records):
                self.journal.extend(records)
            case Broadcast(BlockProposalMessage(vote) | VoteMessage(vote)):
                self.said.add(vote.subject)
            case Send(_, BlockProposalMessage(vote) | VoteMessage(vote)):
                self.said.add(vote.subject)
            case Build(view, parent_view, _):
                self.pending.add(("build", view, parent_view, b""))
            case Verify(view, hash_, _, _):
                self.pending.add(("verify", view, 0, hash_))
            case Certify(view, hash_):
                self.pending.add(("certify", view, 0, hash_))
            case CancelCertify(view):
                self.pending = {item for item in self.pending if item[:2] != ("certify", view)}
            case Misbehaviour(first, _) if first.signer != self.byzantine:
                self.accuses_honest = True
            case _:
                return

    def _forget_votes_of_others(self) -> None:
        """Reduction: lazy votes. What others said stays available and is delivered anew when it can matter."""
        for found in self.core._rounds.newest_first():
            book = found.votes
            for votes in book._votes.values():
                for signer in [signer for signer in votes if signer != self.node.index]:
                    del votes[signer]
            book._accused.clear()

    def freeze(self) -> Node:
        """Return the node as it stands now."""
        self._forget_votes_of_others()
        # A leader waits for its "tick" in every view, and nobody is called silent but by "timeout".
        pacemaker = self.core._pacemaker
        pacemaker._last_block_at_ms = self.clock_ms
        pacemaker._heard_at_ms = dict.fromkeys(pacemaker._heard_at_ms, self.clock_ms)
        rounds = self.core._rounds
        found = rounds.find(rounds.current_view)
        is_open = found is not None and not {NOTARIZE, NULLIFY} & found.own.keys()
        # Late answers to questions that no longer matter are dropped: the core ignores them.
        wanted = {
            item
            for item in self.pending
            if item[1] > rounds.finalized.view
            and (item[0] == "certify" or (is_open and item[1] == rounds.current_view))
        }
        return Node(
            index=self.node.index,
            image=copy_out(self.core),
            clock_ms=self.clock_ms,
            journal=tuple(self.journal),
            said=frozenset(self.said),
            pending=frozenset(wanted),
            has_crashed=self.node.has_crashed,
            accuses_honest=self.accuses_honest,
            current_view=rounds.current_view,
            finalized_view=rounds.finalized.view,
            certificates=held_certificates(self.core),
            position_key=position_key(self.core),
            round_keys=round_keys(self.core),
            wrong_view=self.wrong_view,
        )


def steps_of(node: Node, views: int) -> Iterator[Action]:
    """Yield what can happen in this node without any message: answers of its driver and time."""
    for what, view, parent_view, hash_ in sorted(node.pending):
        if view <= views:
            subject = Subject(NOTARIZE, EPOCH, view, parent_view, hash_) if hash_ else None
            yield (what, subject, view, False)
    if node.current_view <= views:
        yield ("timeout", None, node.current_view, False)
        if leader_of(node.current_view) == node.index:
            yield ("tick", None, node.current_view, False)


def run(node: Node, action: Action, byzantine: int, *, answers_at_once: bool) -> Process:
    """Let one action happen to a node. `answers_at_once`: blocks are verified as soon as asked for."""
    process = Process(node, byzantine)
    kind, subject, count, by_byzantine = action
    match kind:
        case "timeout":
            process.clock_ms += TIMEOUT_MS
            process.handle(TimerFired())
        case "tick":
            process.clock_ms += TICK_MS
            process.handle(TimerFired())
        case "build":
            parent_view = next(item[2] for item in process.pending if item[:2] == ("build", count))
            process.pending = {item for item in process.pending if item[0] != "build"}
            process.handle(Built(count, block_hash(count, parent_view, "A")))
        case "verify" | "certify":
            assert subject is not None, "a block is answered for"
            assert subject.block_hash is not None, "a block is answered for"
            process.pending.discard((kind, subject.view, 0, subject.block_hash))
            answer = Verified if kind == "verify" else Certified
            process.handle(answer(subject.view, subject.block_hash, True))
        case "propose":
            assert subject is not None, "a proposal is of a block"
            leader = leader_of(subject.view)
            vote = Vote(subject, leader, signature_of(leader, subject))
            process.handle(Received(leader, BlockProposalMessage(vote)))
        case "votes":
            assert subject is not None, "a vote has a subject"
            for signer in signers_for(
                node.index, subject, count, byzantine if by_byzantine else None, byzantine
            ):
                process.handle(
                    Received(signer, VoteMessage(Vote(subject, signer, signature_of(signer, subject))))
                )
        case "certificate":
            assert subject is not None, "a certificate has a subject"
            signers = set(
                signers_for(node.index, subject, count, byzantine if by_byzantine else None, byzantine)
            )
            if subject in node.said:
                signers.add(node.index)
            signed = tuple(SignedBy(signer, signature_of(signer, subject)) for signer in sorted(signers))
            relay = byzantine
            process.handle(Received(relay, CertificateMessage(QuorumCertificate(subject, signed))))
        case _:
            raise ValueError(kind)
    if answers_at_once:
        for item in sorted(process.pending):
            if item[0] == "verify" and item[1] == process.core.current_view:
                process.pending.discard(item)
                process.handle(Verified(item[1], item[3], True))
    return process


def signers_for(
    index: int, subject: Subject, honest_count: int, also: int | None, byzantine: int
) -> list[int]:
    """Return which others signed: the leader first, for no honest vote comes before an honest leader's."""
    leader = leader_of(subject.view)
    others = [peer for peer in range(VALIDATORS_COUNT) if peer not in (index, byzantine)]
    others.sort(key=lambda peer: (peer != leader, peer))
    return others[:honest_count] + ([] if also is None else [also])
