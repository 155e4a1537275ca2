"""`python -m tests.chaos.results`: the committed long runs, and which of them the code has outgrown.

Rule 1: a run names the digest of the sources that it covers, `node/` and `ledger/`, as they were when it began.
Rule 2: it is current while that is the digest of what is here, whatever commits lie between. Lines of earlier runs that
name no digest are stale.
"""

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "reliability-results" / "chaos.txt"
COVERED = ("ledger", "node")
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
    """Return the digest of the covered sources: names and bytes, in order of name."""
    digest = hashlib.sha256()
    for folder in COVERED:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


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
