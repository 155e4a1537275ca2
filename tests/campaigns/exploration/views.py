"""The states of a view, as the flags of a production round say them, against the tables of `viewstates`.

S1 The flags of every view above finality are one of the listed combinations. S2 Each event moves a view along listed
steps only. A restored core is judged from its `Started` on: until then nothing notarized is being certified.
"""

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY
from node.consensus.core import Simplex
from node.consensus.rounds import Round
from node.consensus.viewstates import (
    BLOCKS,
    START,
    Certification,
    Said,
    Slot,
    ViewClock,
    ViewState,
    find_wrong_state,
    find_wrong_step,
)

Views = dict[int, ViewState]


def find_wrong_flags(found: Round) -> str | None:
    """Return which flags of a round contradict each other, so that it is in no state at all."""
    notarization = found.certificates.get(NOTARIZE)
    claims = {
        "nullify and finalize are both own": not {NULLIFY, FINALIZE} <= found.own.keys(),
        "a view above finality is finalized": FINALIZE not in found.certificates,
        "something is known of a block that is not there": found.proposal is not None
        or not (
            found.is_equivocated or found.is_block_available or found.is_verify_requested or found.is_verified
        ),
        "a block is verified and was not asked for": found.is_verify_requested or not found.is_verified,
        "a block is verified and not here": found.is_block_available or not found.is_verified,
        "certification is of no notarization": (notarization is None)
        == (found.certification is Certification.NONE),
        "another block than the notarized one stands in the slot": notarization is None
        or found.proposal == notarization.subject,
        "a deadline stands without its clock": (found.clock_started_ms is None)
        == (found.advance_deadline_ms is None),
        "a stopped clock waits for the leader": found.clock is not ViewClock.STOPPED
        or found.leader_deadline_ms is None,
        "a nullify is repeated that was not said": found.retry_at_ms is None or NULLIFY in found.own,
    }
    return next((claim for claim, holds in claims.items() if not holds), None)


def state_of(found: Round) -> ViewState:
    """Return a round's state. Its flags do not contradict each other."""
    return ViewState(
        slot=found.slot,
        is_equivocated=found.is_equivocated,
        said=found.said,
        certification=found.certification,
        is_nullified=found.is_nullified,
        clock=found.clock,
    )


def views_of(core: Simplex) -> tuple[Views, str | None]:
    """Return the states of all views above finality, and what is wrong with the first that is in none (S1)."""
    views: Views = {}
    for found in core._rounds.above_finalized():
        wrong = find_wrong_flags(found)
        if wrong is None:
            views[found.view] = state_of(found)
            wrong = find_wrong_state(views[found.view])
        if wrong is not None:
            return views, f"S1: view {found.view}: {wrong}"
    return views, None


def find_wrong_steps(before: Views, after: Views) -> str | None:
    """Return what is wrong with the steps from the views before an event to those after it, if anything is (S2)."""
    for view, state in after.items():
        wrong = find_wrong_step(before.get(view, START), state)
        if wrong is not None:
            return f"S2: view {view}: {wrong}"
    return None


def combinations() -> set[tuple[Slot, bool, Said, Certification, bool]]:
    """Return every listed combination, without the clock."""
    return {
        (slot, is_equivocated, said, certification, is_nullified)
        for certification, by_said in BLOCKS.items()
        for said, blocks in by_said.items()
        for slot, is_equivocated in blocks
        for is_nullified in (False, True)
    }
