"""Campaigns of the simulation are kept, added up, and called stale when what they cover has changed."""

import json
from pathlib import Path

import pytest

from tests.simulation.whole.__main__ import shard
from tests.simulation.whole.campaign import Report
from tests.simulation.whole.shards import COVERED, Shard, covered_digest, load, tell


def make(start: int, seeds: int, *, source: str = "one", failed: tuple[int, ...] = ()) -> Shard:
    return Shard(
        "c" * 40, source, start, seeds, failed, (), {"4": seeds}, 45 * seeds, 210 * seeds, 22 * seeds
    )


def test_what_a_campaign_writes_is_what_is_read() -> None:
    report = Report(seeds_count=3, heights=130)
    written = Shard.from_json(json.dumps(shard(report, 7, source="one")))
    assert (written.start, written.seeds, written.source, written.heights) == (7, 3, "one", 130)


def test_shards_of_one_source_add_up_and_a_seed_counts_once() -> None:
    (line,) = tell([make(0, 100), make(50, 100)], "one")
    assert line.startswith("current ")
    assert " seeds=150 failed=0 " in line


def test_a_campaign_is_stale_when_the_sources_are_others() -> None:
    old, here = tell([make(0, 100)], "two")
    assert old.startswith("stale ")
    assert here == "no campaign ran on the sources that are here"


def test_a_failed_seed_is_told() -> None:
    (line,) = tell([make(0, 100, failed=(7,))], "one")
    assert " failed=1 " in line and line.endswith("failed_seeds=[7]")


@pytest.mark.parametrize("folder", COVERED)
def test_the_digest_is_that_of_every_covered_source(folder: str, tmp_path: Path) -> None:
    for each in COVERED:
        (tmp_path / each).mkdir(parents=True)
    before = covered_digest(tmp_path)
    (tmp_path / folder / "rule.py").write_text("pass\n")
    added = covered_digest(tmp_path)
    (tmp_path / folder / "rule.py").write_text("pass  # changed\n")
    assert len({before, added, covered_digest(tmp_path)}) == 3


def test_the_committed_shards_can_be_read() -> None:
    assert tell(load(), covered_digest())
