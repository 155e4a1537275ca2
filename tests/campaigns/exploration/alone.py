"""One core and one view: every order of what can happen to it, until no new state comes of it.

The world of the exploration leaves out what a view can be in: blocks that do not certify, answers that come when they
matter no more, a node that may not vote yet, one without work. Here the others say whatever they may say, without a
world in which they came to it.

Rule 1: the driver answers only what it was asked; certificates of the view never exclude each other.
Rule 2: what is reached is judged as in the whole exploration. States are merged by what the tables speak of and little
else, so this finds ways to states and proves nothing about what cannot be reached.
"""

import pickle
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial

from ledger.rules.certificates import NULLIFY, QuorumCertificate, SignedBy, Subject, Vote
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.effects import Build, Certify, Persist, Verify
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
from node.consensus.journal import JournalRecord
from node.consensus.messages import BlockProposalMessage, CertificateMessage, LatestVoteAnswer
from node.consensus.viewstates import START, Slot, ViewState
from tests.campaigns.exploration.node import (
    EPOCH,
    GENESIS,
    VALIDATORS,
    VALIDATORS_COUNT,
    block_hash,
    copy_out,
    leader_of,
    proposal_of,
)
from tests.campaigns.exploration.process import TICK_MS, TIMEOUT_MS
from tests.campaigns.exploration.properties import Violation
from tests.campaigns.exploration.views import Views, find_wrong_steps, views_of
from tests.campaigns.simulation.core.signatures import signature_of, verify

VIEW = 1
BLOCKS_PROPOSED = tuple(proposal_of(VIEW, 0, letter) for letter in "AB")
SKIP = Subject(NULLIFY, EPOCH, VIEW, None, None)

Answer = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Lone:
    """A core between two events, what its driver owes it, and what it persisted."""

    index: int
    image: bytes
    now_ms: int
    owed: frozenset[Answer]
    journal: tuple[JournalRecord, ...]
    views: Views
    key: tuple[object, ...]

    @property
    def state(self) -> ViewState:
        """The state of the view that all this is about."""
        return self.views.get(VIEW, START)


@dataclass(slots=True)
class Reached:
    """All states of the view, and all pairs of one before and one after an event."""

    states: set[ViewState] = field(default_factory=set)
    steps: set[tuple[ViewState, ViewState]] = field(default_factory=set)


def reach(index: int) -> Reached:
    """Try everything with validator `index`. Raises Violation."""
    found = Reached()
    start = _start(index, ())
    known, waiting = {start.key}, deque([start])
    found.states.add(start.state)
    while waiting:
        lone = waiting.popleft()
        for after, is_step in _successors(lone):
            found.states.add(after.state)
            if is_step:
                found.steps.add((lone.state, after.state))
            if after.key not in known:
                known.add(after.key)
                waiting.append(after)
    return found


def _others(index: int) -> list[int]:
    return [peer for peer in range(VALIDATORS_COUNT) if peer != index]


@cache
def _start(index: int, journal: tuple[JournalRecord, ...]) -> Lone:
    core = Simplex(Config(), VALIDATORS, index, EPOCH, journal, GENESIS, partial(signature_of, index), verify)
    blank = Lone(index, copy_out(core), 0, frozenset(), journal, {}, ())
    return _after(blank, [Started(), *(PeerUp(peer) for peer in _others(index))])


def _after(lone: Lone, events: list[Event], *, wait_ms: int = 0, answered: Answer | None = None) -> Lone:
    """Give the core some events, which count as one step each."""
    core: Simplex = pickle.loads(lone.image)
    owed, journal, views = set(lone.owed) - {answered}, list(lone.journal), lone.views
    for event in events:
        for effect in core.handle(event, lone.now_ms + wait_ms):
            match effect:
                case Persist(records):
                    journal.extend(records)
                case Build(view, _, _) if view == VIEW:
                    owed.add(("build", b""))
                case Verify(view, hash_, _, _) if view == VIEW:
                    owed.add(("verify", hash_))
                case Certify(view, hash_) if view == VIEW:
                    owed.add(("certify", hash_))
                case _:
                    continue
        after, wrong = views_of(core)
        if not isinstance(event, Started):
            wrong = wrong or find_wrong_steps(views, after)
        if wrong is not None:
            raise Violation(wrong)
        views = after
    found = core._rounds.find(VIEW)
    key = (
        views.get(VIEW, START),
        core.standing,
        core.current_view,
        frozenset(owed),
        core._pacemaker._has_work,
        None if found is None else (found.proposal, found.latched is None),
    )
    return Lone(
        lone.index, copy_out(core), lone.now_ms + wait_ms, frozenset(owed), tuple(journal), views, key
    )


def _successors(lone: Lone) -> Iterator[tuple[Lone, bool]]:
    """Yield what comes of everything that can happen, and whether that is one event."""
    for events in _happenings(lone):
        yield _after(lone, events), len(events) == 1
    for wait_ms in (TICK_MS, TIMEOUT_MS):
        yield _after(lone, [TimerFired()], wait_ms=wait_ms), True
    for answer in lone.owed:
        for event in _answers(answer):
            yield _after(lone, [event], answered=answer), True
            # The driver was slow, and the timeout is due by now.
            yield _after(lone, [event], answered=answer, wait_ms=TIMEOUT_MS), True
    yield _start(lone.index, lone.journal), False


def _answers(answer: Answer) -> list[Event]:
    what, hash_ = answer
    if what == "build":
        return [Built(VIEW, block_hash(VIEW, 0, "A")), Built(VIEW, None)]
    if what == "verify":
        return [Verified(VIEW, hash_, True), Verified(VIEW, hash_, False)]
    return [Certified(VIEW, hash_, True), Certified(VIEW, hash_, False)]


def _happenings(lone: Lone) -> Iterator[list[Event]]:
    others, leader = _others(lone.index), leader_of(VIEW)
    # Until one of the two blocks is in the slot they are interchangeable.
    blocks = BLOCKS_PROPOSED[:1] if lone.state.slot in (Slot.EMPTY, Slot.BUILDING) else BLOCKS_PROPOSED
    yield [Received(peer, LatestVoteAnswer(EPOCH, (), ())) for peer in others]
    for has_work in (False, True):
        yield [WorkChanged(has_work)]
    if leader != lone.index:
        for subject in blocks:
            vote = Vote(subject, leader, signature_of(leader, subject))
            yield [Received(leader, BlockProposalMessage(vote))]
    for subject in (*blocks, SKIP):
        signed = tuple(SignedBy(signer, signature_of(signer, subject)) for signer in others)
        yield [Received(others[0], CertificateMessage(QuorumCertificate(subject, signed)))]
