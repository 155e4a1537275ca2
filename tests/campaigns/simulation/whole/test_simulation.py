"""Whole nodes under faults: a few hundred histories, half of them new with every commit (docs/reliability.md)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns.simulation.whole.byzantine import ACTORS
from tests.campaigns.simulation.whole.campaign import (
    Report,
    command_for,
    run_seed,
    seeds_of_commit,
)
from tests.campaigns.simulation.whole.parts import Part, divide, report_of
from tests.campaigns.simulation.whole.schedule import Schedule, plan
from tests.campaigns.simulation.whole.shards import covered_digest, load, tell
from tests.campaigns.simulation.whole.world import run
from tests.conftest import SUMMARIES, folder_of_run
from tests.support.sources import ROOT

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.json"))


def parts_of(config: pytest.Config) -> list[Part]:
    """Return as many fixed seeds as `--seeds` says, and as many that are this commit's own."""
    count: int = config.getoption("--seeds")
    return [*divide(range(count)), *divide(seeds_of_commit(count))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "part" in metafunc.fixturenames:
        parts = parts_of(metafunc.config)
        # Named by their places: the seeds of a commit would give its tests other names with every commit.
        metafunc.parametrize("part", parts, ids=[f"{number}" for number in range(len(parts))])


@pytest.mark.slow
@pytest.mark.busy
def test_no_history_breaks_an_invariant(part: Part, tmp_path_factory: pytest.TempPathFactory) -> None:
    report = report_of(part, folder_of_run(tmp_path_factory))
    assert not report.failures, "\n".join(str(failure) for failure in report.failures)


@pytest.mark.slow
@pytest.mark.last
def test_every_history_is_long_and_stormy_enough(
    part: Part, tmp_path_factory: pytest.TempPathFactory
) -> None:
    report = report_of(part, folder_of_run(tmp_path_factory))
    assert not report.thin, [command_for(seed) for seed in report.thin]


@pytest.mark.slow
@pytest.mark.last
def test_every_rare_situation_occurred(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> None:
    report = Report()
    for part in parts_of(pytestconfig):
        report.merge(report_of(part, folder_of_run(tmp_path_factory)))
    SUMMARIES["simulation of whole nodes"] = [
        *report.counters(),
        report.line(),
        *(f"campaign: {line}" for line in tell(load(), covered_digest())),
    ]
    assert report.never() == []


@pytest.mark.slow
@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_failed_once_holds(path: Path) -> None:
    run(Schedule.load(path))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 7, 31])
def test_one_seed_is_one_history(seed: int) -> None:
    assert run(plan(seed)).trace_hash == run(plan(seed)).trace_hash


@pytest.mark.slow
def test_a_history_does_not_depend_on_the_process_that_runs_it() -> None:
    program = "import sys; from tests.campaigns.simulation.whole.schedule import plan; "
    program += "from tests.campaigns.simulation.whole.world import run; print(run(plan(3)).trace_hash)"
    hashes = set()
    for salt in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        found = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.add(found.stdout)
    assert len(hashes) == 1


def test_real_signatures_and_stubs_lead_to_the_same_claims() -> None:
    real = next(seed for seed in range(100) if plan(seed).are_signatures_real)
    assert run(plan(real)).heights >= 40


def test_a_schedule_is_stored_and_replayed_as_it_stands() -> None:
    schedule = plan(11)
    assert Schedule.from_json(schedule.to_json()) == schedule


@pytest.mark.parametrize("name", ACTORS)
def test_each_actor_alone_neither_forks_nor_stops_the_rest(name: str) -> None:
    outcome = run(plan(1_000, validators_count=4, byzantine=name))
    assert outcome.actors == (name,)
    assert outcome.heights >= 40


def test_a_failure_is_told_as_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.campaigns.simulation.whole.world.CORE_BOUND_MS", 1)
    failure = run_seed(5)
    assert "make simulate SEEDS=1 START=5" in str(failure)
