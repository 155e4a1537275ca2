"""What a mutation run found, kept as it goes and shown when it is complete.

Rule 1: each mutant's fate is a line of the journal as soon as it is known, with the digest of the module that it was
found on. A later run takes over the lines of the same digests and tries the rest; what survived is tried again on
demand, when a test was added. Take the journal away when a test was taken away.
Rule 2: the result names the commit, and the digests of the covered modules and of the tests. It is stale when one of
them is another now, and says so.
"""

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.campaigns.mutation.mutants import Mutant
from tests.support.sources import ROOT

RESULT: Final = Path(__file__).with_name("result.json")
JOURNAL: Final = Path(__file__).with_name("journal.jsonl")


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant."""

    module: str
    number: int
    line: int
    change: str
    place: str
    survived: bool


def fate_of(mutant: Mutant, *, survived: bool) -> Fate:
    """Return a mutant's fate."""
    return Fate(mutant.module, mutant.number, mutant.line, mutant.change, mutant.place, survived)


def source_of(module: str) -> Path:
    """Return the file of one of the modules of `ledger/`, by its last name."""
    (path,) = (ROOT / "ledger").rglob(f"{module}.py")
    return path


def source_digest(module: str) -> str:
    """Return the digest of a covered module."""
    return _digest([source_of(module)])


def tests_digest(tests: Sequence[str]) -> str:
    """Return the digest of the tests, and of the forgeries and the tool that stand behind them."""
    folders = [
        path
        for name in ("attacks", "campaigns/mutation")
        for path in sorted((ROOT / "tests" / name).glob("*.py"))
    ]
    return _digest(sorted({*folders, *(ROOT / test for test in tests)}))


def _digest(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


class FateJournal:
    """The fates found so far, on these sources; one line for each."""

    def __init__(self, path: Path, modules: Sequence[str]) -> None:
        self._path = path
        self._bound = {module: source_digest(module) for module in modules}
        self.fates: dict[tuple[str, int], Fate] = {}
        if path.exists():
            text = path.read_text("utf-8")
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                # A torn last line is of a mutant that is tried again.
                path.write_text(whole, "utf-8")
            for line in whole.splitlines():
                entry = json.loads(line)
                if entry.pop("of") == self._bound.get(entry["module"]):
                    self._keep(Fate(**entry))

    def append(self, fate: Fate) -> None:
        """Keep a fate, in memory and on the disk."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(fate), "of": self._bound[fate.module]}) + "\n")
        self._keep(fate)

    def _keep(self, fate: Fate) -> None:
        self.fates[fate.module, fate.number] = fate


def write_result(path: Path, fates: Sequence[Fate], tests: Sequence[str]) -> None:
    """Write the result of a complete run."""
    survived = [fate for fate in fates if fate.survived]
    counts = Counter(fate.module for fate in fates)
    report = {
        "commit": _commit(),
        "sources": {module: source_digest(module) for module in counts},
        "tests": tests_digest(tests),
        "mutants": len(fates),
        "mutants of each module": dict(counts),
        "survivors in percent": round(100 * len(survived) / len(fates), 2),
        "survived": [asdict(fate) for fate in survived],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def describe_age(path: Path, tests: Sequence[str]) -> str:
    """Say whether a result is of the code as it is now."""
    if not path.exists():
        return "no result is kept"
    report = json.loads(path.read_text())
    changed = [module for module, digest in report["sources"].items() if source_digest(module) != digest]
    if report["tests"] != tests_digest(tests):
        changed.append("tests")
    said = (
        f"{report['mutants']} mutants at {report['commit'][:12]}, {report['survivors in percent']} % survived"
    )
    return f"{said}; {'stale: ' + ', '.join(changed) if changed else 'current'}"


def _commit() -> str:
    ran = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "unknown"
