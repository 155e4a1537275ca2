"""A short fuzz run: seeded changes of the committed corpus, a few hundred for each target (make fuzz does more)."""

import pytest

from tests.fuzz.corpus import FOLDER, entries
from tests.fuzz.random_changes import find_failure
from tests.fuzz.targets import TARGETS

TRIES = 400


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_arrives_is_accepted_or_refused_within_the_declared_family(name: str) -> None:
    assert find_failure(TARGETS[name], name, seed=1, tries=TRIES) is None


def test_every_target_has_a_corpus() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(TARGETS)


def test_the_corpus_is_what_its_script_writes() -> None:
    for target, name, content in entries():
        assert (FOLDER / target / name).read_bytes() == content, (
            f"{target}/{name}: python -m tests.fuzz.corpus"
        )


def test_a_target_that_fails_is_found() -> None:
    def broken(data: bytes) -> None:
        if data[:1] == b"\xc4":
            raise KeyError("a decoder that lets something else out")

    failure = find_failure(broken, "codec", seed=1, tries=20_000)
    assert failure is not None and failure.startswith("KeyError")
