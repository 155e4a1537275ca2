"""The states of a view: everything listed is reached, everything reached is listed, and each check can fail."""

from collections.abc import Collection
from dataclasses import replace
from functools import cache

import pytest

from ledger.rules.certificates import NOTARIZE, NULLIFY, QuorumCertificate, Subject
from node.consensus.effects import Verify
from node.consensus.rounds import Round
from node.consensus.viewstates import (
    BLOCKS,
    CERTIFICATION_STEPS,
    CLOCK_STEPS,
    CLOCKS,
    SAID_STEPS,
    SLOT_STEPS,
    START,
    Certification,
    Said,
    Slot,
    ViewClock,
    ViewState,
    find_wrong_state,
    find_wrong_step,
)
from tests.campaigns.exploration.alone import Reached, reach
from tests.campaigns.exploration.explorer import Explorer
from tests.campaigns.exploration.properties import Violation
from tests.campaigns.exploration.replay import parse_trace, replay, write_trace
from tests.campaigns.exploration.scope import Scope
from tests.campaigns.exploration.views import combinations, find_wrong_flags, state_of
from tests.campaigns.simulation.core.single import Single, block_of, of_kind, subject_of
from tests.support.sources import ROOT

LETTERS = {slot.name[0]: slot for slot in Slot}
EARLY = 2
"""A view whose proposal comes before the node is in it."""


@cache
def reached() -> Reached:
    """What the leader of a view and another validator come to."""
    leader, follower = reach(1), reach(2)
    return Reached(leader.states | follower.states, leader.steps | follower.steps)


def views_before(node: Single, view: int) -> ViewState:
    found = node.core._rounds.find(view)
    assert found is not None
    assert find_wrong_flags(found) is None
    return state_of(found)


def early(*, is_equivocated: bool) -> tuple[ViewState, ViewState]:
    """A proposal before its view can begin, and the same once it can: the state before and after."""
    node = Single()
    node.propose(EARLY, parent=0)
    if is_equivocated:
        node.propose(EARLY, parent=0, block=block_of(9))
    waiting = views_before(node, EARLY)
    effects = node.certify(subject_of(NULLIFY, EARLY - 1))
    assert len(of_kind(effects, Verify)) == 1
    return waiting, views_before(node, EARLY)


@pytest.mark.parametrize("is_equivocated", [False, True])
def test_a_proposal_that_came_early_waits_and_is_checked_once_its_view_begins(is_equivocated: bool) -> None:
    waiting, checking = early(is_equivocated=is_equivocated)
    assert (waiting.slot, waiting.said, waiting.clock) == (Slot.PROPOSED, Said.NOTHING, ViewClock.STOPPED)
    assert waiting.is_equivocated is is_equivocated
    assert find_wrong_state(waiting) is None and find_wrong_step(waiting, checking) is None


def test_every_listed_combination_is_reached_and_no_other() -> None:
    states = reached().states | {early(is_equivocated=mark)[0] for mark in (False, True)}
    parts = {
        (each.slot, each.is_equivocated, each.said, each.certification, each.is_nullified) for each in states
    }
    assert parts == combinations()
    assert {(each.clock, each.slot) for each in states} == {
        (clock, slot) for clock, slots in CLOCKS.items() for slot in slots
    }


def test_every_listed_step_is_taken_and_no_other() -> None:
    steps = reached().steps | {early(is_equivocated=False)}
    every: tuple[tuple[str, Collection[object]], ...] = (
        ("slot", SLOT_STEPS),
        ("said", SAID_STEPS),
        ("certification", CERTIFICATION_STEPS),
        ("clock", CLOCK_STEPS),
    )
    for name, listed in every:
        taken = {(getattr(before, name), getattr(after, name)) for before, after in steps}
        assert {(before, after) for before, after in taken if before is not after} == set(listed), name


def test_the_page_shows_the_table_that_the_core_is_judged_by() -> None:
    page = (ROOT / "docs" / "consensus.md").read_text()
    header, _, *rows = page[page.index("| said by this node |") :].split("\n\n")[0].split("\n")
    certifications = [Certification(cell.split()[-1]) for cell in header.strip("| ").split(" | ")[1:]]
    shown: dict[Certification, dict[Said, object]] = {certification: {} for certification in certifications}
    for row in rows:
        said, *cells = row.strip("| ").split(" | ")
        for certification, cell in zip(certifications, cells, strict=True):
            blocks = frozenset((LETTERS[each[0]], each.endswith("!")) for each in cell.split() if each != "–")
            if blocks:
                shown[certification][Said(said)] = blocks
    assert shown == {certification: dict(by_said) for certification, by_said in BLOCKS.items()}


WRONG_STATES = {
    "a vote for nothing": replace(START, said=Said.NOTARIZE),
    "a vote for a block that was not verified": replace(START, slot=Slot.CHECKING, said=Said.NOTARIZE),
    "another block in the slot without equivocation": replace(
        START, slot=Slot.PROPOSED, said=Said.NOTARIZE, certification=Certification.PENDING
    ),
    "finalize before the block is certified": replace(
        START, slot=Slot.VERIFIED, said=Said.NOTARIZE_FINALIZE, certification=Certification.PENDING
    ),
    "finalize of a block that does not certify": replace(
        START, slot=Slot.VERIFIED, said=Said.FINALIZE, certification=Certification.INVALID
    ),
    "a notarization without block": replace(START, certification=Certification.PENDING),
    "an equivocation without block": replace(START, is_equivocated=True),
    "a clock that waits for certification of nothing": replace(START, clock=ViewClock.ADVANCE),
    "a clock that waits for a leader who proposed": replace(
        START, slot=Slot.VERIFIED, said=Said.NOTARIZE, clock=ViewClock.LEADER
    ),
}


@pytest.mark.parametrize("state", WRONG_STATES.values(), ids=WRONG_STATES)
def test_a_combination_that_is_not_listed_is_found(state: ViewState) -> None:
    assert find_wrong_state(state) is not None
    assert find_wrong_state(START) is None


PROPOSED = replace(START, slot=Slot.PROPOSED)
WRONG_STEPS = {
    "a proposal is forgotten": (PROPOSED, START),
    "a block is verified that was not asked for": (PROPOSED, replace(START, slot=Slot.VERIFIED)),
    "a vote is forgotten": (replace(START, said=Said.NULLIFY), START),
    "a notarize after a nullify": (
        replace(START, said=Said.NULLIFY),
        replace(START, said=Said.NOTARIZE_NULLIFY),
    ),
    "a finalize after a nullify": (replace(START, said=Said.NULLIFY), replace(START, said=Said.FINALIZE)),
    "a verdict without certifying": (PROPOSED, replace(PROPOSED, certification=Certification.VALID)),
    "a verdict is reversed": (
        replace(PROPOSED, certification=Certification.INVALID),
        replace(PROPOSED, certification=Certification.VALID),
    ),
    "an equivocation is forgotten": (replace(PROPOSED, is_equivocated=True), PROPOSED),
    "a nullification is forgotten": (replace(START, is_nullified=True), START),
    "a clock turns back to the leader": (
        replace(PROPOSED, clock=ViewClock.ADVANCE),
        replace(PROPOSED, clock=ViewClock.LEADER),
    ),
}


@pytest.mark.parametrize(("before", "after"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_a_step_that_is_not_listed_is_found(before: ViewState, after: ViewState) -> None:
    assert find_wrong_step(before, after) is not None
    assert find_wrong_step(before, before) is None and find_wrong_step(after, after) is None


WRONG_FLAGS = {
    "verified and not asked for": {"proposal": subject_of(NOTARIZE, 1), "is_verified": True},
    "asked for and not there": {"is_verify_requested": True},
    "here and not there": {"is_block_available": True},
    "certifying no notarization": {
        "proposal": subject_of(NOTARIZE, 1),
        "certification": Certification.PENDING,
    },
    "a deadline without clock": {"advance_deadline_ms": 1},
    "a clock without deadline": {"clock_started_ms": 1},
    "a leader deadline without clock": {"leader_deadline_ms": 1},
    "a repetition of nothing": {"retry_at_ms": 1},
}


@pytest.mark.parametrize("flags", WRONG_FLAGS.values(), ids=WRONG_FLAGS)
def test_flags_that_contradict_each_other_are_found(flags: dict[str, object]) -> None:
    found = Round(1, 1)
    assert find_wrong_flags(found) is None
    for name, value in flags.items():
        setattr(found, name, value)
    assert find_wrong_flags(found) is not None


def test_a_core_that_leaves_the_table_is_found_with_the_steps_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def latest(self: Round, subject: Subject) -> None:
        self.proposal = subject
        self.is_verified = self.is_verify_requested = self.is_block_available = False

    # No second vote comes of it, so no other claim fails.
    monkeypatch.setattr(Round, "propose", latest)
    for scope in (Scope(1, 1, congruence_every=1 << 30), Scope(1, 1, glued=True, congruence_every=1 << 30)):
        report = Explorer(scope).search()
        assert report.failure is not None and "S1" in report.failure
        with pytest.raises(Violation, match="S1"):
            replay(parse_trace(write_trace(report.trace)), 1, answers_at_once=False)
        assert Explorer(replace(scope, judges_views=False)).search().failure is None


def test_a_core_that_takes_a_step_that_is_not_listed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    notarize = Round.notarize

    def forgetful(self: Round, certificate: QuorumCertificate) -> None:
        notarize(self, certificate)
        self.is_equivocated = False

    monkeypatch.setattr(Round, "notarize", forgetful)
    with pytest.raises(Violation, match="S2: view 1: an equivocation is forgotten"):
        reach(2)
