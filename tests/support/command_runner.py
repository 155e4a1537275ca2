"""Runs commands one after the other in a process of their own, which can be ended where one of them hangs."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from cli.program import run
from tests.support.sources import ROOT

PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def run_all(
    commands: Sequence[Sequence[str]], folder: Path, *, now_ms: int, **environment: str
) -> list[Ended]:
    """Run commands in a folder, with nothing to read from, and return how each ended. Fails where one hangs.

    `now_ms` is what the clock says where they verify.
    """
    listed = folder / "commands.json"
    listed.write_text(json.dumps([[*command] for command in commands]))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.command_runner", str(listed), str(now_ms)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            shown, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            shown, _ = process.communicate()
    listed.unlink()
    ended = [Ended(**json.loads(line)) for line in shown.splitlines()]
    assert len(ended) == len(commands), f"{commands[len(ended)]} does not end"
    return ended


def main(listed: Path, now_ms: int) -> None:
    """Run what is listed, and print a line for each once it has ended."""
    with patch("cli.verify.now_ms", lambda: now_ms):
        for command in json.loads(listed.read_text()):
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(command)
            print(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
