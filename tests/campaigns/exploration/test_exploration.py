"""Every schedule of one view, and a part of those of two (docs/exploration.md)."""

from dataclasses import replace
from functools import cache

import pytest

from tests.campaigns.exploration.__main__ import describe, main, scopes_of
from tests.campaigns.exploration.explorer import Explorer
from tests.campaigns.exploration.node import proposal_of
from tests.campaigns.exploration.process import CoreStopped
from tests.campaigns.exploration.properties import Public, Violation, check
from tests.campaigns.exploration.replay import parse_trace, replay, write_trace
from tests.campaigns.exploration.scope import Report, Scope, TraceStep


@cache
def explored(scope: Scope) -> Explorer:
    explorer = Explorer(scope)
    report = explorer.search()
    assert report.failure is None, f"{describe(report)}\n{write_trace(report.trace)}"
    return explorer


def explore(scope: Scope) -> Report:
    return explored(scope).report


@pytest.mark.slow
@pytest.mark.parametrize("byzantine", [0, 1])
def test_one_view_is_safe_and_left_by_all_whatever_happens(byzantine: int) -> None:
    report = explore(Scope(1, byzantine, crashes=1))
    assert report.is_exhaustive
    assert report.quiescent > 100
    assert report.congruence_checks > 10
    assert all(report.rare.values()), report.rare


@pytest.mark.slow
@pytest.mark.parametrize(("byzantine", "crashes"), [(0, 1), (1, 0)])
def test_gluing_silent_steps_loses_nothing_that_is_said(byzantine: int, crashes: int) -> None:
    whole, glued = (explored(Scope(1, byzantine, crashes=crashes, glued=glued)) for glued in (False, True))
    assert whole.report.states > glued.report.states
    assert whole.spoken_together() == glued.spoken_together()


@pytest.mark.slow
@pytest.mark.parametrize("byzantine", [0, 1])
def test_verifying_at_once_loses_nothing_that_is_said(byzantine: int) -> None:
    late, at_once = (explored(Scope(1, byzantine, answers_at_once=answers)) for answers in (False, True))
    assert late.spoken_together() == at_once.spoken_together()


@pytest.mark.parametrize("byzantine", [0, 1, 2])
def test_the_nearest_states_of_two_views_are_safe(byzantine: int) -> None:
    report = explore(Scope(2, byzantine, answers_at_once=True, glued=True, states_max=500))
    assert not report.is_exhaustive
    assert report.waiting > 0


def test_what_was_cut_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--views", "3", "--minutes", "0.001", "--byzantine", "1", "--crashes", "0"]) == 0
    assert "states not gone on from" in capsys.readouterr().out


def test_every_place_of_the_byzantine_validator_is_explored() -> None:
    # Of those that lead no view explored one stands for all.
    assert {scope.byzantine for scope in scopes_of(1)} == {0, 1}
    assert {scope.byzantine for scope in scopes_of(2)} == {0, 1, 2}
    assert {scope.byzantine for scope in scopes_of(3)} == {0, 1, 2, 3}


def said(*subjects: object) -> Public:
    return Public(frozenset(subjects), frozenset(), False)  # type: ignore[arg-type]


BLOCK = proposal_of(1, 0, "A")
RIVAL = proposal_of(1, 0, "B")
FINAL = replace(BLOCK, kind="finalize")
SKIP = replace(BLOCK, kind="nullify", parent_view=None, block_hash=None)
CHILD = proposal_of(2, 1, "A")
ORPHAN = proposal_of(2, 0, "A")


@pytest.mark.parametrize(
    ("claim", "nodes"),
    [
        ("E1", (said(BLOCK), said(BLOCK, RIVAL), said(RIVAL))),
        ("E2", (said(BLOCK, FINAL), said(BLOCK, FINAL, SKIP), said(SKIP))),
        ("E3", (said(BLOCK, FINAL, ORPHAN), said(BLOCK, FINAL), said(ORPHAN))),
        ("E4", (said(BLOCK, RIVAL), said(), said())),
        ("E4", (said(FINAL, SKIP), said(), said())),
        ("E5", (Public(frozenset({BLOCK}), frozenset({BLOCK}), False), said(), said())),
        ("E6", (said(CHILD), said(), said())),
        ("E6", (said(ORPHAN), said(), said())),
        ("E7", (Public(frozenset(), frozenset(), True), said(), said())),
        ("E8", (said(FINAL), said(FINAL), said())),
    ],
)
def test_each_claim_can_fail(claim: str, nodes: tuple[Public, ...]) -> None:
    with pytest.raises(Violation, match=claim):
        check(nodes)


def test_an_ordinary_state_satisfies_all_claims() -> None:
    check((said(BLOCK, FINAL, CHILD), said(BLOCK, FINAL), said(BLOCK)))


def test_a_trace_reads_back_and_repeats() -> None:
    steps: list[TraceStep] = [(1, (kind, None, 1, False), None) for kind in ("tick", "build")]
    steps += [(2, ("propose", BLOCK, 0, False), None), (2, ("verify", BLOCK, 1, False), 2)]
    assert parse_trace(write_trace(steps)) == steps
    nodes = replay(steps, 0, answers_at_once=False)
    assert [len(node.said) for node in nodes] == [1, 1, 0]
    assert nodes[1].has_crashed


def test_a_core_that_raises_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("stopped by the test")

    explorer = Explorer(Scope(1, 0))
    monkeypatch.setattr("node.consensus.voter.Voter.note_certified", stop)
    report = explorer.search()
    assert report.failure is not None
    assert CoreStopped.__name__ in report.failure
