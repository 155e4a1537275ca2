"""The disks of the nodes: one small file system each where that is permitted, so that it can be full.

Rule 1: mounts are made in a mount namespace of the run (`python -m tests.campaigns.chaos` sees to that), so nothing of
them is left however the run ends.
Rule 2: where mounting is not permitted, a process is refused to write past the size that its files have.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaigns.chaos.nodes import Nodes

ROOM = "4g"
LIMIT_SIZE = 4_096
SHRINK_ATTEMPTS_MAX = 50


class Disks:
    """What each node's data lies on."""

    def __init__(self, nodes: Nodes, *, mounted: bool) -> None:
        self._nodes = nodes
        self._is_mounted = mounted

    @property
    def how(self) -> str:
        """How a disk is filled here."""
        return "tmpfs without room" if self._is_mounted else "RLIMIT_FSIZE"

    def prepare(self, member: str) -> None:
        """Give a node's data a file system of its own, before its first start."""
        if self._is_mounted:
            data = self._data(member)
            data.mkdir(exist_ok=True)
            _run("mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=0700", "tmpfs", str(data))

    @contextmanager
    def filled(self, member: str) -> Iterator[None]:
        """Leave a node's disk without room."""
        if not self._is_mounted:
            self._nodes.limit_files(member, LIMIT_SIZE)
            yield
            return
        data = self._data(member)
        _shrink(data)
        try:
            yield
        finally:
            _run("mount", "-o", f"remount,size={ROOM}", str(data))

    def release(self, member: str) -> None:
        """Take a node's file system away, after its last end."""
        if self._is_mounted:
            _run("umount", str(self._data(member)))

    def clear_evidence(self, member: str) -> None:
        """Remove what was kept of earlier damage, as an operator moves it elsewhere: its count is bounded."""
        for kept in self._data(member).glob("*.damaged-*"):
            if kept.is_dir():
                shutil.rmtree(kept)
            else:
                kept.unlink()

    def _data(self, member: str) -> Path:
        return self._nodes.home(member) / "data"


def _shrink(data: Path) -> None:
    """Make a file system as small as what is on it, which may grow meanwhile."""
    for attempt in range(1, SHRINK_ATTEMPTS_MAX + 1):
        found = os.statvfs(data)
        used = (found.f_blocks - found.f_bfree + attempt) * found.f_frsize
        try:
            _run("mount", "-o", f"remount,size={used}", str(data))
        except subprocess.CalledProcessError:
            if attempt == SHRINK_ATTEMPTS_MAX:
                raise
        else:
            return


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
