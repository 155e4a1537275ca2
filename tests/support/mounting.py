"""Running a command where it may mount: in a namespace of its own, which ends with it."""

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.support.sources import ROOT

_WAYS = (("unshare", "-m"), ("unshare", "-Urm"))


@cache
def find_mounter() -> tuple[str, ...] | None:
    """Return the words before a command that may mount; None where nobody lets us."""
    if shutil.which("unshare") is None:
        return None
    for words in _WAYS:
        tried = subprocess.run(
            [*words, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
        )
        if tried.returncode == 0:
            return words
    return None


def run_mounted(script: str, command: Sequence[str | Path]) -> "subprocess.CompletedProcess[str]":
    """Run a shell script that mounts, and then a command of ours in place of it; return how that ended."""
    words = find_mounter()
    assert words is not None, "ask find_mounter first"
    return subprocess.run(
        [*words, "sh", "-ec", f'{script}\nexec "$@"', "sh", *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
