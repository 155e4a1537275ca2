"""What fuzzing found, added up over runs that may be interrupted.

Rule 1: each slice of a target's fuzzing is a line of the journal when it ends: its processor time, executions,
coverage, the size of the corpus, and the digest of the code that it ran on.
Rule 2: minutes are of the fuzzer's own processor time, so that a busy machine makes none of them shorter.
Rule 3: the result adds up the slices of the code as it is. It names the commit and each covered file's digest, and is
stale when one of them is another now.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.support.sources import ROOT

RESULT: Final = Path(__file__).with_name("result.json")
JOURNAL: Final = Path(__file__).with_name("journal.jsonl")
COVERED: Final = (
    *sorted((ROOT / "ledger").rglob("*.py")),
    *(ROOT / "node" / name for name in ("messages.py", "consensus/messages.py", "consensus/journal.py")),
    *(
        ROOT / "node" / name
        for name in ("recipient/multipart.py", "network/hello.py", "storage/voteframes.py")
    ),
    Path(__file__).with_name("targets.py"),
)


@dataclass(frozen=True, slots=True)
class Slice:
    """A while of fuzzing one target. `coverage` counts edges of our modules; `entries` are those of the corpus."""

    target: str
    processor_s: float
    runs: int
    coverage: int
    entries: int
    found: bool


def sources() -> dict[str, str]:
    """Return the digest of each covered file."""
    return {f"{path.relative_to(ROOT)}": hashlib.sha256(path.read_bytes()).hexdigest() for path in COVERED}


def code_digest() -> str:
    """Return one digest of all covered files."""
    return hashlib.sha256(json.dumps(sources()).encode()).hexdigest()


def append_slice(path: Path, done: Slice) -> None:
    """Keep a slice, behind what is whole."""
    text = path.read_text("utf-8") if path.exists() else ""
    if not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], "utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**asdict(done), "of": code_digest()}) + "\n")


def read_slices(path: Path) -> list[Slice]:
    """Return the slices that ran on the code as it is. A torn last line was never counted."""
    text = path.read_text("utf-8") if path.exists() else ""
    entries = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    digest = code_digest()
    return [Slice(**entry) for entry in entries if entry.pop("of") == digest]


def processor_s(slices: Iterable[Slice], target: str) -> float:
    """Return how long a target was fuzzed."""
    return sum(each.processor_s for each in slices if each.target == target)


def write_result(path: Path, slices: list[Slice]) -> None:
    """Write what the slices add up to."""
    targets = {}
    for name in sorted({each.target for each in slices}):
        own = [each for each in slices if each.target == name]
        targets[name] = {
            "processor minutes": round(processor_s(own, name) / 60, 1),
            "runs": sum(each.runs for each in own),
            "coverage": max(each.coverage for each in own),
            "entries": max(each.entries for each in own),
            "findings": sum(each.found for each in own),
        }
    ran = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    report = {"commit": ran.stdout.strip() or "unknown", "targets": targets, "sources": sources()}
    path.write_text(json.dumps(report, indent=1) + "\n")


def describe_age(path: Path) -> str:
    """Say what a result holds, and whether it is of the code as it is now."""
    if not path.exists():
        return "no result is kept"
    report = json.loads(path.read_text())
    now, minutes = sources(), [target["processor minutes"] for target in report["targets"].values()]
    changed = [name for name, digest in report["sources"].items() if now.get(name) != digest]
    changed += [name for name in now if name not in report["sources"]]
    said = f"{len(minutes)} targets at {report['commit'][:12]}, {min(minutes)} to {max(minutes)} minutes"
    return f"{said}; {'stale: ' + ', '.join(changed) if changed else 'current'}"
