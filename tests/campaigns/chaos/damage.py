"""What is done to the files of a node that is down: bits flipped, ends cut off, files gone, at every kind of place."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VOTES = "votes"
CHAIN = "chain"


@dataclass(frozen=True, slots=True)
class Damage:
    """One file, and what happened to it."""

    place: str
    what: str
    file: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what} {self.place} {self.file} {self.detail}"


def _flip(path: Path, source: random.Random) -> str:
    content = bytearray(path.read_bytes())
    bit = source.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return f"bit {bit % 8} of byte {bit // 8} of {len(content)}"


def _truncate(path: Path, source: random.Random) -> str:
    size = path.stat().st_size
    kept = source.randrange(size)
    with path.open("r+b") as file:
        file.truncate(kept)
    return f"{size} bytes to {kept}"


def _remove(path: Path, _source: random.Random) -> str:
    size = path.stat().st_size
    path.unlink()
    return f"{size} bytes"


ACTS: dict[str, Callable[[Path, random.Random], str]] = {
    "flip": _flip,
    "truncate": _truncate,
    "remove": _remove,
}
PATTERNS = {
    "table": f"{CHAIN}/*.ldb",
    "log": f"{CHAIN}/*.log",
    "manifest": f"{CHAIN}/MANIFEST-*",
    "current": f"{CHAIN}/CURRENT",
    "votes": VOTES,
}
KINDS = tuple((place, what) for place in PATTERNS for what in ACTS)


def inflict(data: Path, place: str, what: str, source: random.Random) -> Damage | None:
    """Damage a file of this place; None where the node has none that is not empty."""
    files = [path for path in sorted(data.glob(PATTERNS[place])) if path.stat().st_size]
    if not files:
        return None
    path = source.choice(files)
    return Damage(place, what, str(path.relative_to(data)), ACTS[what](path, source))
