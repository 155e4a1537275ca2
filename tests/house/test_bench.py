"""The benchmarks run and report. Nothing here asserts on time: a busy machine measures slowly, and still correctly."""

import json
import math
import os
import select
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import suite
from bench.cluster import NodeEnded, check_running
from bench.compare import Ratio, main, regressions
from bench.plots import bar_plot
from bench.stored_chain import copy_database, settle
from bench.suite import present_names, run, run_bounded, table, write_results
from cli.processes import LOG_FILE
from node.storage.database import WriteBatch
from node.storage.leveldb import LevelDatabase


@pytest.mark.slow
@pytest.mark.parametrize("name", present_names())
def test_every_benchmark_runs_and_prints_a_valid_report(name: str) -> None:
    report = run(name, is_quick=True)
    assert report["name"] == name
    for field in ("figure", "limit", "ratio"):
        value = report[field]
        assert isinstance(value, int | float) and math.isfinite(value) and value >= 0
    assert report["unit"] and report["limit_is"]
    assert isinstance(report["is_lower_better"], bool)
    assert isinstance(report["details"], dict) and report["details"]
    assert report["machine"] and report["commit"] and report["versions"]


REPORT: dict[str, object] = {
    "name": "growth",
    "figure": 9.0,
    "unit": "per second",
    "limit": 10.0,
    "limit_is": "the most",
    "ratio": 0.9,
    "is_lower_better": False,
    "details": {"10_records": {"commits_per_second": 10.0}, "100_records": {"commits_per_second": 9.0}},
}


def test_results_are_a_table_json_and_plots(tmp_path: Path) -> None:
    write_results([REPORT], tmp_path)
    assert "| `growth` | 9.0 | per second | 10.0 | 0.9 | the most |" in (tmp_path / "table.md").read_text()
    assert json.loads((tmp_path / "all.json").read_text()) == [REPORT]
    for path in tmp_path.glob("*.svg"):
        ElementTree.fromstring(path.read_text())
    assert {path.name for path in tmp_path.glob("*.svg")} == {
        "ratios.svg",
        "commits-per-second-by-growth.svg",
    }


def test_the_table_says_where_less_is_better() -> None:
    assert "(less is better)" in table([{**REPORT, "is_lower_better": True}])


def test_a_label_cannot_break_a_plot() -> None:
    ElementTree.fromstring(bar_plot("<a & b>", [("</text>", 0.0)], mark=1.0))


def test_a_ratio_within_the_share_is_no_regression_and_one_past_it_is() -> None:
    old = {"commit": Ratio(0.40, False), "idle": Ratio(0.40, True)}
    at_the_limit = {"commit": Ratio(0.35, False), "idle": Ratio(0.45, True)}
    past = {"commit": Ratio(0.29, False), "idle": Ratio(0.51, True)}
    assert regressions(old, at_the_limit, 0.25) == []
    assert [each.split(":")[0] for each in regressions(old, past, 0.25)] == ["commit", "idle"]
    assert regressions(old, {"commit": Ratio(9.0, False), "idle": Ratio(0.0, True)}, 0.25) == []


def test_a_benchmark_that_is_gone_is_a_regression() -> None:
    assert regressions({"commit": Ratio(0.4, False)}, {}, 0.5) == ["commit: expected a ratio, found none"]


def test_the_command_compares_two_files(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps([REPORT]))
    new.write_text(json.dumps({**REPORT, "ratio": 0.5}))
    assert CliRunner().invoke(main, [str(old), str(old)]).exit_code == 0
    refused = CliRunner().invoke(main, [str(old), str(new)])
    assert refused.exit_code == 1
    assert "growth: expected at least" in refused.output


def test_a_benchmark_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_one(name: str, *, is_quick: bool) -> dict[str, object]:
        assert is_quick
        if name == "commit":
            raise ValueError("no JSON")
        return {**REPORT, "name": name}

    monkeypatch.setattr(suite, "run", run_one)
    result = CliRunner().invoke(suite.main, ["--quick", "--out", str(tmp_path), "commit", "growth"])
    assert result.exit_code == 1
    assert "no report from commit" in result.output
    assert (tmp_path / "growth.json").exists()


def test_a_table_that_no_manifest_names_is_not_shared(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name, age_ns in (("000005.ldb", 0), ("MANIFEST-000004", 1), ("000007.ldb", 2)):
        (source / name).write_text(name)
        os.utime(source / name, ns=(10**18 + age_ns, 10**18 + age_ns))
    copy_database(source, target)
    assert {path.name for path in target.iterdir()} == {"000005.ldb", "MANIFEST-000004"}
    assert (target / "000005.ldb").samefile(source / "000005.ldb")
    assert not (target / "MANIFEST-000004").samefile(source / "MANIFEST-000004")


@pytest.mark.slow
def test_a_settled_database_has_nothing_left_to_merge(tmp_path: Path) -> None:
    for value in range(3):  # Each opening makes a table of what the one before wrote.
        with closing(LevelDatabase.open(tmp_path)) as database:
            for table in b"CHMPTVt":
                batch = WriteBatch()
                batch.put(bytes([table, value]), b"low")
                batch.put(bytes([table, 255]), bytes([value]))
                database.write(batch, is_synced=False)
    settle(tmp_path)
    with closing(LevelDatabase.open(tmp_path)) as database:
        read = database._database.get_property
        counts = [int(read(b"leveldb.num-files-at-level%d" % level)) for level in range(7)]
        assert database.get(b"V\xff") == b"\x02"
    assert counts[0] == 0 and sorted(counts)[-2:] == [0, 1]


def test_a_benchmark_whose_node_ended_says_so_at_once(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_text("the disk is full")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    with pytest.raises(NodeEnded, match="ended with 3: the disk is full"):
        check_running(process, tmp_path)


@pytest.mark.slow
def test_a_benchmark_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{child.pid}}\\n')\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program]
    with pytest.raises(subprocess.TimeoutExpired):
        run_bounded(command, 3.0)
    with pytest.raises(ProcessLookupError):
        for _ in range(1_000):
            # A process that was killed takes a moment to be gone, and its parent is gone as well.
            os.kill(int(pids.read_text()), 0)
            select.select([], [], [], 0.01)


def test_what_a_benchmark_prints_is_returned_and_its_failure_raised() -> None:
    assert run_bounded([sys.executable, "-c", "print(7)"], 60.0) == "7\n"
    with pytest.raises(subprocess.CalledProcessError):
        run_bounded([sys.executable, "-c", "raise SystemExit(2)"], 60.0)
