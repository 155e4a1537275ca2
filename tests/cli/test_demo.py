"""The demo as people run it: with a file of theirs, kept for trying, and interrupted at any moment."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exits import FINE, INTERRUPTED
from cli.processes import find_nodes, send_signal
from tests.support.sources import ROOT

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0


def start_demo(folder: Path, told: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start the demo with a temporary directory of its own; what it says goes to a file."""
    folder.mkdir()
    with told.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "cli.main", "demo", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=output,
            stderr=output,
        )


def luohu(*arguments: str) -> int:
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode


def test_a_kept_demo_with_a_file_runs_on_says_what_to_try_and_ends_when_told(tmp_path: Path) -> None:
    own = tmp_path / "my report.txt"
    own.write_text("a file of one's own\n")
    folder = tmp_path / "tmp"
    demo = start_demo(folder, tmp_path / "told", "--file", str(own), "--keep")
    code = demo.wait(timeout=PATIENCE_S)
    shown = (tmp_path / "told").read_text()
    assert code == FINE, shown
    assert "The bureau anchors 3 files in one transaction" in shown
    assert own.read_text() == "a file of one's own\n"
    assert set(tmp_path.iterdir()) == {own, folder, tmp_path / "told"}
    tried = [line.split() for line in re.findall(r"^ +luohu (.*)$", shown, re.MULTILINE)]
    assert [words[:2] for words in tried] == [["network", "status"], ["audit", "--url"], ["network", "down"]]
    network = Path(tried[0][2])
    try:
        assert (network.parent / "your-my report.txt.proof").is_file()
        assert len(find_nodes(network)) == 4
        assert [luohu(*words) for words in tried] == [FINE, FINE, FINE]
    finally:
        left = find_nodes(network)
        for process in left:
            send_signal(process, signal.SIGKILL)
    assert left == []


def has_directory(folder: Path, _shown: str) -> bool:
    """The demo has begun, and makes its network."""
    return any(folder.iterdir())


def has_nodes(folder: Path, _shown: str) -> bool:
    """Nodes are started, and none is listed yet."""
    return len(find_nodes(folder)) >= 2


def has_anchored(_folder: Path, shown: str) -> bool:
    """The story is being told."""
    return "The bureau anchors" in shown


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, has_directory),
        (signal.SIGTERM, has_nodes),
        (signal.SIGINT, has_anchored),
    ],
)
def test_an_interrupted_demo_leaves_no_process_and_no_file(
    tmp_path: Path, number: signal.Signals, moment: Callable[[Path, str], bool]
) -> None:
    folder, told = tmp_path / "tmp", tmp_path / "told"
    demo = start_demo(folder, told)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not moment(folder, told.read_text()):
            assert time.monotonic() < deadline and demo.poll() is None, told.read_text()
            time.sleep(0.02)
        demo.send_signal(number)
        assert demo.wait(timeout=PATIENCE_S) == INTERRUPTED
    finally:
        demo.kill()
        demo.wait()
    assert find_nodes(folder) == []
    assert list(folder.iterdir()) == []
