"""The campaign of one run of the tests, in parts of a few seeds, so that several processes share it and none is silent.

Rule 1: a part runs once in a run of the tests, whichever process asks for it first; the others read what it gave.
"""

import fcntl
import pickle
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns.simulation.whole.campaign import Report, run_campaign

PART_SIZE = 3
"""Seeds of a part: well below a minute on a slow machine."""

Part = tuple[int, ...]


def divide(seeds: Sequence[int]) -> list[Part]:
    """Divide seeds into parts."""
    return [tuple(seeds[first : first + PART_SIZE]) for first in range(0, len(seeds), PART_SIZE)]


def report_of(part: Part, folder: Path) -> Report:
    """Return what a part gave, from the folder of this run of the tests, or by running it."""
    path = folder / f"{part[0]}-{len(part)}"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            report: Report = pickle.loads(path.read_bytes())
            return report
        report = run_campaign(part, jobs=1)
        path.write_bytes(pickle.dumps(report))
        return report
