"""What every benchmark prints: one JSON object on standard output, progress on standard error.

Rule 1: a figure stands beside the limit that was measured in the same run on the same machine.
Rule 2: the ratio is figure by limit. Where less is better, the report says so, and a ratio below 1 is inside.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

PACKAGES: Final = ("cryptography", "msgpack", "pynacl")


@dataclass(frozen=True, slots=True)
class Report:
    """A figure and its limit, in the same unit."""

    name: str
    figure: float
    unit: str
    limit: float
    limit_is: str
    details: dict[str, object] = field(default_factory=dict)
    is_lower_better: bool = False

    def print(self) -> None:
        """Print the report as one JSON object."""
        content = {
            "name": self.name,
            "figure": round(self.figure, 3),
            "unit": self.unit,
            "limit": round(self.limit, 3),
            "limit_is": self.limit_is,
            "ratio": round(self.figure / self.limit, 4) if self.limit else None,
            "is_lower_better": self.is_lower_better,
            "details": self.details,
            "machine": {
                "processor": platform.machine(),
                "system": platform.system(),
                "cores": _cores(),
                "python": platform.python_version(),
            },
            "commit": _commit(),
            "versions": {package: version(package) for package in PACKAGES},
        }
        sys.stdout.write(json.dumps(content, indent=2) + "\n")


def progress(label: str, done: float) -> None:
    """Draw a progress bar on standard error where that is a terminal; `done` goes from 0 to 1."""
    if sys.stderr.isatty():
        filled = int(30 * min(1.0, done))
        ending = "\n" if done >= 1 else ""
        sys.stderr.write(f"\r{label:<24}[{'#' * filled:<30}]{ending}")
        sys.stderr.flush()


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value that this percentage of ordered values does not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def _cores() -> int:
    return os.cpu_count() or 1


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return found.stdout.strip() or "unknown"
