"""Campaigns of the simulation are kept, added up, and called stale when what they cover has changed."""

import json
from pathlib import Path

from tests.campaigns.simulation.whole.__main__ import shard
from tests.campaigns.simulation.whole.campaign import Report
from tests.campaigns.simulation.whole.shards import SIMULATION, Shard, covered_digest, load, tell
from tests.support.sources import ROOT, files_loaded_by


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


def test_the_digest_is_that_of_everything_that_the_simulation_loads(tmp_path: Path) -> None:
    main, rule = tmp_path / "tests/campaigns/simulation/whole/__main__.py", tmp_path / "ledger/rule.py"
    for path in (main, rule):
        path.parent.mkdir(parents=True)
    main.write_text("from ledger.rule import RULE\n")
    rule.write_text("RULE = 1\n")
    before = covered_digest(tmp_path)
    (tmp_path / "ledger" / "other.py").write_text("")
    assert covered_digest(tmp_path) == before
    rule.write_text("RULE = 2\n")
    assert covered_digest(tmp_path) != before


def test_the_digest_here_covers_rules_node_and_simulation_and_no_route() -> None:
    covered = {path.relative_to(ROOT).as_posix() for path in files_loaded_by(SIMULATION)}
    assert {
        "ledger/rules/transition.py",
        "node/replica/driver.py",
        "tests/campaigns/simulation/whole/oracle.py",
    } <= covered
    assert not any(path.startswith(("cli/", "node/api/")) for path in covered)


def test_the_committed_shards_can_be_read() -> None:
    assert tell(load(), covered_digest())
