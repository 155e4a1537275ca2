"""The committed long runs say what they ran on, and are stale once that has changed."""

from pathlib import Path

import pytest

from tests.campaigns.chaos.results import RESULTS, covered_digest, fields_of, standing


def test_a_digest_covers_names_and_bytes_of_what_a_node_loads_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "node" / "sync").mkdir(parents=True)
    (tmp_path / "node" / "run.py").write_text("from node.sync import one\n")
    (tmp_path / "node" / "sync" / "one.py").write_text("ONE = 1\n")
    before = covered_digest(tmp_path)
    (tmp_path / "node" / "not_loaded.py").write_text("")
    (tmp_path / "node" / "notes.md").write_text("")
    assert covered_digest(tmp_path) == before
    (tmp_path / "node" / "sync" / "one.py").write_text("ONE = 2\n")
    changed = covered_digest(tmp_path)
    (tmp_path / "node" / "sync" / "one.py").rename(tmp_path / "node" / "sync" / "two.py")
    (tmp_path / "node" / "run.py").write_text("from node.sync import two\n")
    assert len({before, changed, covered_digest(tmp_path)}) == 3


def test_a_run_is_current_on_its_own_sources_only() -> None:
    line = "chaos seed=1 nodes=4 commit=0123 source=abcd faults=2"
    assert standing(line, "abcd") == "current"
    assert standing(line, "abce") == "stale"
    assert standing("chaos seed=1 nodes=4 commit=0123 faults=2", "abcd") == "stale"
    with pytest.raises(ValueError, match="line of a run"):
        standing("notes", "abcd")


def test_every_committed_run_has_the_figures_that_matter() -> None:
    for line in RESULTS.read_text().splitlines():
        assert {"seed", "nodes", "minutes", "commit", "faults", "kinds", "lost"} <= fields_of(line).keys()
