"""How far a home had come: at least, beside its data, and never a reason not to start."""

import json
from pathlib import Path

import pytest

from node.home.reached import REACHED_EVERY, REACHED_FILE_SIZE_MAX, Reached

CHAIN_ID = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reached.json"


def written(path: Path) -> int | None:
    return int(json.loads(path.read_text())["height"]) if path.exists() else None


def test_the_first_block_every_so_many_and_the_last_are_written(path: Path) -> None:
    reached = Reached(path, CHAIN_ID)
    reached.note(0, is_last=True)
    assert written(path) is None
    reached.note(1)
    assert written(path) == 1
    reached.note(REACHED_EVERY)
    assert written(path) == 1
    reached.note(1 + REACHED_EVERY)
    assert written(path) == 1 + REACHED_EVERY
    reached.note(2 + REACHED_EVERY, is_last=True)
    assert written(path) == 2 + REACHED_EVERY
    assert Reached(path, CHAIN_ID).height == 2 + REACHED_EVERY


def test_a_lower_height_takes_nothing_back(path: Path) -> None:
    Reached(path, CHAIN_ID).note(900)
    again = Reached(path, CHAIN_ID)
    again.note(5)
    again.note(5, is_last=True)
    assert (again.height, written(path)) == (900, 900)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\xff" * 9, b'{"chain_id": "00", "height": 3}', b" " * (REACHED_FILE_SIZE_MAX + 1)],
    ids=["empty", "nothing", "bytes", "short", "large"],
)
def test_what_is_no_mark_says_nothing(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    reached = Reached(path, CHAIN_ID)
    assert reached.height == 0
    reached.note(7)
    assert Reached(path, CHAIN_ID).height == 7


def test_the_mark_of_another_chain_says_nothing(path: Path) -> None:
    Reached(path, bytes(32)).note(812)
    assert Reached(path, CHAIN_ID).height == 0


def test_a_mark_that_cannot_be_written_ends_no_node(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    reached = Reached(path, CHAIN_ID)
    reached.note(1)
    assert "node.reached_unwritten" in caplog.text
    assert "directory" in caplog.text.partition("node.reached_unwritten")[2]
    reached.note(2)
    assert caplog.text.count("node.reached_unwritten") == 1, "it is not tried again with every block"
