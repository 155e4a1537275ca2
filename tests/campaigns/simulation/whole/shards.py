"""`python -m tests.campaigns.simulation.whole.shards`: committed campaigns, and which of them are outgrown.

Rule 1: a shard names the commit and the digest of the sources that it covers, which are all that the simulation loads,
as they were when it began. It is current while that is the digest of what is here.
Rule 2: shards add up over one digest. A seed that two of them ran counts once.
Rule 3: stale shards stay in the file, and are called stale wherever they are told.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.support.sources import ROOT, digest_of, files_loaded_by

RESULTS = ROOT / "docs" / "reliability-results" / "simulation.jsonl"
SIMULATION = "tests.campaigns.simulation.whole.__main__"


def covered_digest(root: Path = ROOT) -> str:
    """Return the digest of the covered sources."""
    return digest_of(files_loaded_by(SIMULATION, root=root), root)


@dataclass(frozen=True, slots=True)
class Shard:
    """What one run of a campaign left behind. `sizes` are seeds by number of validators."""

    commit: str
    source: str
    start: int
    seeds: int
    failed: tuple[int, ...]
    thin: tuple[int, ...]
    sizes: dict[str, int]
    heights: int
    transactions: int
    faults: int

    @classmethod
    def from_json(cls, line: str) -> "Shard":
        """Read one line. Raises ValueError or KeyError where it is none."""
        value = json.loads(line)
        numbers = {name: int(value[name]) for name in ("start", "seeds", "heights", "transactions", "faults")}
        return cls(
            commit=value["commit"],
            source=value["source"],
            failed=tuple(value["failed"]),
            thin=tuple(value["thin"]),
            sizes=value["sizes"],
            **numbers,
        )


def load(path: Path = RESULTS) -> list[Shard]:
    """Read the committed shards; none where there is no file."""
    return [Shard.from_json(line) for line in path.read_text().splitlines()] if path.exists() else []


def tell(shards: list[Shard], digest: str) -> list[str]:
    """Return one line for each digest, the oldest first: current or stale, and what its shards add up to."""
    sources = dict.fromkeys(shard.source for shard in shards)
    lines = [
        _line([shard for shard in shards if shard.source == source], is_current=source == digest)
        for source in sources
    ]
    return lines if digest in sources else [*lines, "no campaign ran on the sources that are here"]


def _line(shards: list[Shard], *, is_current: bool) -> str:
    ran: set[int] = set()
    sizes: Counter[str] = Counter()
    for shard in shards:
        ran.update(range(shard.start, shard.start + shard.seeds))
        sizes.update(shard.sizes)
    failed = sorted({seed for shard in shards for seed in (*shard.failed, *shard.thin)})
    spread = "+".join(
        f"{count}x{size}" for size, count in sorted(sizes.items(), key=lambda each: int(each[0]))
    )
    return (
        f"{'current' if is_current else 'stale'} commit={shards[0].commit[:12]} source={shards[0].source} "
        f"seeds={len(ran)} failed={len(failed)} sizes={spread} "
        f"heights={sum(shard.heights for shard in shards)} "
        f"transactions={sum(shard.transactions for shard in shards)} "
        f"faults={sum(shard.faults for shard in shards)}" + (f" failed_seeds={failed}" if failed else "")
    )


def main() -> None:
    """Print one line for each version of the sources that a campaign ran on."""
    print("\n".join(tell(load(), covered_digest())))


if __name__ == "__main__":
    main()
