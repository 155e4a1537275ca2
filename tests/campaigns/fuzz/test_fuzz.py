"""A short fuzz run: seeded changes of the committed corpus, a few hundred for each target (make fuzz does more)."""

from pathlib import Path

import pytest

from tests.campaigns.fuzz import results
from tests.campaigns.fuzz.corpus import FOLDER, entries
from tests.campaigns.fuzz.random_changes import find_failure
from tests.campaigns.fuzz.results import (
    COVERED,
    Slice,
    append_slice,
    describe_age,
    processor_s,
    read_slices,
    write_result,
)
from tests.campaigns.fuzz.targets import TARGETS

TRIES = 400


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_arrives_is_accepted_or_refused_within_the_declared_family(name: str) -> None:
    assert find_failure(TARGETS[name], name, seed=1, tries=TRIES) is None


def test_every_target_has_a_corpus() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(TARGETS)


def test_the_corpus_is_what_its_script_writes() -> None:
    for target, name, content in entries():
        assert (FOLDER / target / name).read_bytes() == content, (
            f"{target}/{name}: python -m tests.campaigns.fuzz.corpus"
        )


def test_a_target_that_fails_is_found() -> None:
    def broken(data: bytes) -> None:
        if data[:1] == b"\xc4":
            raise KeyError("a decoder that lets something else out")

    failure = find_failure(broken, "codec", seed=1, tries=20_000)
    assert failure is not None and failure.startswith("KeyError")


def test_slices_add_up_over_runs_on_the_same_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, result = tmp_path / "journal", tmp_path / "result"
    assert read_slices(journal) == [] and describe_age(result) == "no result is kept"
    first, second = Slice("codec", 60.0, 10, 5, 3, False), Slice("codec", 30.0, 7, 6, 4, False)
    append_slice(journal, first)
    append_slice(journal, second)
    with journal.open("a") as file:
        file.write('{"target": "cod')
    assert read_slices(journal) == [first, second]
    append_slice(journal, first)
    assert read_slices(journal) == [first, second, first]
    assert processor_s(read_slices(journal), "codec") == 150.0
    write_result(result, [first, second])
    assert describe_age(result).endswith("1.5 to 1.5 minutes; current")
    monkeypatch.setattr(results, "sources", lambda: {"ledger/encoding/codec.py": "another"})
    assert read_slices(journal) == []
    assert "stale: ledger/__init__.py, ledger/alterations.py, ledger/archives.py" in describe_age(result)


def test_all_covered_files_exist() -> None:
    assert COVERED and all(path.is_file() for path in COVERED)
