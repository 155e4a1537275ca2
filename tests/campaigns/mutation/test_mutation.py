"""The mutation tool: what it changes, and that an interrupted run loses nothing."""

import json
from pathlib import Path

import pytest

from tests.campaigns.mutation import results
from tests.campaigns.mutation.__main__ import FIRST, MODULES, SURVIVORS, TESTS
from tests.campaigns.mutation.mutants import Mutant, mutants_of
from tests.campaigns.mutation.results import FateJournal, describe_age, fate_of, source_of, write_result
from tests.support.sources import ROOT

SOURCE = "def check(size):\n    if size > 3:\n        raise ValueError(size)\n"


def mutants() -> list[Mutant]:
    return list(mutants_of("merkle", SOURCE))


def test_a_check_is_left_out_negated_and_shifted() -> None:
    changes = {mutant.change.split(":")[0] for mutant in mutants()}
    assert changes == {"left out", "negated", "shifted", "one more", "one less"}
    assert len({mutant.source for mutant in mutants()}) == len(mutants())


def test_what_was_found_is_there_after_an_interruption(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = FateJournal(path, MODULES)
    first, second = mutants()[:2]
    journal.append(fate_of(first, survived=False))
    journal.append(fate_of(second, survived=True))
    path.write_bytes(path.read_bytes()[:-5])
    again = FateJournal(path, MODULES)
    assert list(again.fates.values()) == [fate_of(first, survived=False)]
    again.append(fate_of(second, survived=False))
    assert FateJournal(path, MODULES).fates == again.fates
    assert len(again.fates) == 2


def test_what_was_found_on_other_code_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    FateJournal(path, MODULES).append(fate_of(mutants()[0], survived=False))
    monkeypatch.setattr(results, "source_digest", lambda module: f"another {module}")
    assert not FateJournal(path, MODULES).fates


def test_a_result_says_when_it_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    assert describe_age(path, TESTS) == "no result is kept"
    write_result(path, [fate_of(mutant, survived=False) for mutant in mutants()], TESTS)
    assert describe_age(path, TESTS).endswith("0.0 % survived; current")
    monkeypatch.setattr(results, "source_digest", lambda _module: "another")
    assert describe_age(path, TESTS).endswith("stale: merkle")
    assert describe_age(path, TESTS[:-1]).endswith("stale: merkle, tests")


def test_the_lists_name_what_exists() -> None:
    assert all((ROOT / test).is_file() for test in TESTS) and set(FIRST.values()) <= set(TESTS)
    for survivor in json.loads(SURVIVORS.read_text())["survivors"]:
        source = source_of(survivor["module"]).read_text()
        assert survivor["place"].rsplit(" @ ", 1)[0] in source, "the place that the argument is about"
        assert len(survivor["equivalent because"]) > 20
