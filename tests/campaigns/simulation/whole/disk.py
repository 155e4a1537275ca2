"""The disk of one machine: what fails, when, and what a power cut leaves.

Rule 1: everything that a machine does to its disk or its network is one `step`, and any step may be its last.
Rule 2: what was synced survives. Of what was not, a power cut keeps a part that its salt decides: a prefix of
the database's batches and of the directory's changes, and any sectors of a file.
Rule 3: rot is lasting: a bit that flipped is found by whoever reads it, until it is written anew.
"""

import errno
import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.simulation.whole.database import Records
from tests.campaigns.simulation.whole.files import FileTree

VOTES = Path("/votes")
ANY_STEP, DISK_STEP, DATABASE_STEP = range(3)


class PowerCut(BaseException):
    """The machine is off. Not an Exception: no handler of the program under test runs after it."""


def _is_among(name: str, among: int) -> bool:
    if among == DATABASE_STEP:
        return name.startswith("database")
    return among == ANY_STEP or name not in ("send", "sent")


@dataclass(slots=True)
class Disk:
    """Databases (chain, and snapshot_store of snapshots) and files of one machine, and its troubles."""

    records: Records = field(default_factory=Records)
    snapshot_store: Records = field(default_factory=Records)
    files: FileTree = field(default_factory=FileTree)
    steps_left: int | None = None
    cut_among: int = ANY_STEP
    is_full: bool = False
    latency_ms: int = 0
    spent_ms: int = 0
    steps_count: int = 0

    def step(self, name: str) -> None:
        """Do one thing to disk or network, unless it is the one at which the power goes."""
        self.steps_count += 1
        if self.steps_left is not None and _is_among(name, self.cut_among):
            if self.steps_left == 0:
                raise PowerCut(name)
            self.steps_left -= 1

    def write(self, name: str) -> None:
        """Change the disk. Raises OSError where it is full."""
        self.step(name)
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def sync(self, name: str) -> None:
        """Wait for the disk."""
        self.spent_ms += self.latency_ms
        self.step(name)

    def cut_power(self, salt: int) -> None:
        """Lose what was not synced, or a part of it."""
        self.steps_left = None
        chance = random.Random(salt)
        self.records.cut_power(chance)
        self.snapshot_store.cut_power(chance)
        self.files.cut_power(chance)

    def lose_database(self) -> None:
        """Start over with an empty database."""
        self.records = Records()

    def lose_snapshots(self) -> None:
        """Start over with an empty snapshot_store of snapshots."""
        self.snapshot_store = Records()

    def lose_log(self) -> None:
        """Start over without any file."""
        self.files = FileTree()

    def rot_log(self, path: Path, salt: int, *, copies_count: int) -> bool:
        """Flip bits in the file at `path`; tell whether there was anything to flip."""
        return self.files.rot(path, random.Random(salt), copies_count=copies_count)
