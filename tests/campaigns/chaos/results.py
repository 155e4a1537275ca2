"""`python -m tests.campaigns.chaos.results`: the committed long runs, and which of them the code has outgrown.

Rule 1: a run names the digest of the sources that it covers, which are all that a node loads, as they were
when it began.
Rule 2: it is current while that is the digest of what is here, whatever commits lie between. Lines of earlier runs that
name no digest are stale.
"""

import re
from pathlib import Path

from tests.support.sources import ROOT, digest_of, files_loaded_by

RESULTS = ROOT / "docs" / "reliability-results" / "chaos.txt"
NODE = "node.run"
SHOWN = (
    "seed",
    "nodes",
    "minutes",
    "commit",
    "source",
    "faults",
    "lost",
    "doubled",
    "forked",
    "other_failures",
)


def covered_digest(root: Path = ROOT) -> str:
    """Return the digest of the covered sources."""
    return digest_of(files_loaded_by(NODE, root=root), root)


def fields_of(line: str) -> dict[str, str]:
    """Return the figures of one run by name. Raises ValueError for what is no such line."""
    if not line.startswith("chaos "):
        raise ValueError(f"results: expected a line of a run, found {line[:60]!r}")
    return dict(re.findall(r"(\w+)=(\S+)", line))


def standing(line: str, digest: str) -> str:
    """Say whether a run is of the sources that are here."""
    return "current" if fields_of(line).get("source") == digest else "stale"


def main() -> None:
    """Print one line a run."""
    digest = covered_digest()
    for line in RESULTS.read_text().splitlines():
        found = fields_of(line)
        shown = " ".join(f"{name}={found[name]}" for name in SHOWN if name in found)
        print(f"{standing(line, digest)} {shown}")


if __name__ == "__main__":
    main()
