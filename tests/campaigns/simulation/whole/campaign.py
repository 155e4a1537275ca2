"""Many seeds, in several processes, and what they gave.

Rule 1: a failure is told with the one command that repeats it.
Rule 2: a campaign of CAMPAIGN_SIZE_MIN seeds or more in which a rare situation never occurred has failed: it
did not test what it claims to test.
Rule 3: so has one with a thin history: each has HEIGHTS_MIN final blocks, TRANSACTIONS_MIN transactions and
FAULTS_MIN faults.
"""

import multiprocessing
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from ledger.rules.operations import (
    AnchorBatch,
    CastVote,
    Operation,
    Propose,
    ReportMisbehaviour,
    RevokeAnchor,
    RevokeDocument,
    RotateKey,
    RotateTls,
)
from ledger.rules.proposals import Change
from tests.campaigns.simulation.whole.schedule import CHANGES, plan
from tests.campaigns.simulation.whole.world import FAULTS_MIN, HEIGHTS_MIN, TRANSACTIONS_MIN, Outcome, run
from tests.support.sources import ROOT

CAMPAIGN_SIZE_MIN = 200

SENDS: frozenset[type[Operation]] = frozenset(
    (
        AnchorBatch,
        RevokeDocument,
        RevokeAnchor,
        RotateKey,
        RotateTls,
        Propose,
        CastVote,
        ReportMisbehaviour,
    )
)
"""What clients, governors and validators send here. A campaign in which one was never recorded has failed."""

RARE = (
    "view notarized and nullified",
    "parent skips two views or more",
    "certified after nullification",
    "notarized after nullification",
    "jump over more than 5 views",
    "certificate requested",
    "evidence",
    "punishment",
    "several blocks final at once",
    "final blocks asked for",
    "final blocks served",
    "nullify: no-proposal",
    "nullify: not-certified",
    "nullify: leader-silent",
    "nullify: leader-nullified",
    "nullify: leader-equivocated",
    "refused for good: already-recorded",
    "refused for good: expired",
    "node stopped by a failed write",
    "node stopped by a damaged record",
    "database fetched again from peers",
    "database lost",
    "vote log repaired from its copy",
    "torn append of the vote log dropped",
    "amnesia: the vote log tells",
    "amnesia: observing",
    "power cut at send",
    "power cut at sent",
    "power cut at write_at",
    "power cut at sync",
    "power cut at synced",
    "power cut at database.write",
    "power cut at database.sync",
    "power cut at database.synced",
    "byzantine: two blocks proposed",
    "byzantine: two votes of a kind",
    "byzantine: nullify and finalize",
    "byzantine: message withheld",
    "byzantine: parent usurped",
    "byzantine: a final transaction proposed",
    "byzantine: one transaction twice proposed",
    "byzantine: another impersonated",
    "byzantine: old message replayed",
    "byzantine: garbage sent",
    "byzantine: flood from the future",
    "byzantine: lie about final blocks",
    "byzantine: lie about a block",
    "byzantine: snapshot forged",
    "byzantine: chunk forged",
    "snapshot installed",
    "fault: crash",
    "fault: crash-at",
    "fault: kill",
    "fault: pause",
    "fault: isolate",
    "fault: split",
    "fault: ring",
    "fault: one-way",
    "fault: heal",
    "fault: weather",
    "fault: clog",
    "fault: slow-disk",
    "fault: full-disk",
    "fault: rot-database",
    "fault: flip-read",
    "fault: rot-log-copy",
    "fault: lose-database",
    "fault: clock-step",
    "fault: clock-drift",
    "fault: outage",
    "fault: forget-votes",
    "fault: register-spare",
    "fault: rotate",
    "fault: replace",
    "fault: remove",
    "fault: add",
    *(f"fault: {kind}" for kind in CHANGES if kind not in ("rotate", "replace", "remove", "add")),
    *sorted(f"recorded: {each.__name__}" for each in SENDS),
    *(f"enacted: {change.__name__}" for change in get_args(Change)),
    "proposal outvoted",
    "member key rotated",
    "TLS certificate rotated",
    "fetching from a peer that cannot be pinned",
    "validator key rotated",
    "epoch encoded_header",
    "seal proposed again",
    "seal told in an ended epoch",
    "handover of a running node",
)


def command_for(seed: int) -> str:
    """Return the command that repeats a seed."""
    return f"make simulate SEEDS=1 START={seed}"


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that did not hold."""

    seed: int
    reason: str
    place: str

    def __str__(self) -> str:
        return f"FAILED seed {self.seed}: {self.reason} ({self.place})\n  {command_for(self.seed)}"


@dataclass(slots=True)
class Report:
    """What a campaign gave."""

    seeds_count: int = 0
    failures: list[Failure] = field(default_factory=list)
    sometimes: Counter[str] = field(default_factory=Counter)
    heights: int = 0
    transactions: int = 0
    faults: int = 0
    events_count: int = 0
    first_finality_max_ms: int = 0
    healed_max_ms: int = 0
    converged_max_ms: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    thin: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, result: Outcome | Failure) -> None:
        """Take up one seed's result."""
        self.seeds_count += 1
        if isinstance(result, Failure):
            self.failures.append(result)
            return
        self.sometimes += result.sometimes
        self.heights += result.heights
        self.transactions += result.transactions
        self.faults += result.faults
        self.events_count += result.events_count
        self.first_finality_max_ms = max(self.first_finality_max_ms, result.first_finality_ms)
        self.healed_max_ms = max(self.healed_max_ms, result.healed_ms)
        self.converged_max_ms = max(self.converged_max_ms, result.converged_ms)
        self.sizes[result.validators_count] += 1
        is_thick = result.heights >= HEIGHTS_MIN and result.transactions >= TRANSACTIONS_MIN
        if not is_thick or result.faults < FAULTS_MIN:
            self.thin.append(result.seed)

    def merge(self, other: "Report") -> None:
        """Take up what another part of the campaign gave."""
        self.seeds_count += other.seeds_count
        self.failures += other.failures
        self.sometimes += other.sometimes
        self.heights += other.heights
        self.transactions += other.transactions
        self.faults += other.faults
        self.events_count += other.events_count
        self.first_finality_max_ms = max(self.first_finality_max_ms, other.first_finality_max_ms)
        self.healed_max_ms = max(self.healed_max_ms, other.healed_max_ms)
        self.converged_max_ms = max(self.converged_max_ms, other.converged_max_ms)
        self.sizes += other.sizes
        self.thin += other.thin
        self.seconds += other.seconds

    def never(self) -> list[str]:
        """Return the rare situations that a campaign of this size should have met and did not."""
        if self.seeds_count < CAMPAIGN_SIZE_MIN:
            return []
        return [name for name in RARE if not self.sometimes[name]]

    @property
    def has_failed(self) -> bool:
        """Tell whether anything is wrong."""
        return bool(self.failures or self.thin or self.never())

    def line(self) -> str:
        """Return the figures in one line."""
        sizes = "+".join(f"{count}x{size}" for size, count in sorted(self.sizes.items()))
        return (
            f"seeds={self.seeds_count} failed={len(self.failures)} sizes={sizes} heights={self.heights} "
            f"transactions={self.transactions} faults={self.faults} events={self.events_count} "
            f"first_finality_max_ms={self.first_finality_max_ms} healed_max_ms={self.healed_max_ms} "
            f"converged_max_ms={self.converged_max_ms} thin={len(self.thin)} never={len(self.never())} "
            f"seconds={self.seconds:.0f}"
        )

    def counters(self) -> list[str]:
        """Return how often each rare situation was met, one line each."""
        others = sorted(set(self.sometimes) - set(RARE))
        return [f"{self.sometimes[name]:>9}  {name}" for name in (*RARE, *others)]


def run_seed(seed: int) -> Outcome | Failure:
    """Run one seed, whatever becomes of it."""
    try:
        return run(plan(seed))
    except Exception as error:  # noqa: BLE001 - any exception is a finding, and the campaign goes on
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error}"[:800]
        return Failure(seed, reason, f"{Path(last.filename).name}:{last.lineno}")


def run_campaign(
    seeds: Sequence[int],
    *,
    jobs: int,
    tell: Callable[[Report, Outcome | Failure], None] = lambda _report, _result: None,
) -> Report:
    """Run seeds in processes of their own. `tell` is called after each."""
    report = Report()
    began = time.perf_counter()
    for result in _results(seeds, jobs):
        report.add(result)
        report.seconds = time.perf_counter() - began
        tell(report, result)
    report.failures.sort(key=lambda failure: failure.seed)
    return report


def _results(seeds: Sequence[int], jobs: int) -> Iterable[Outcome | Failure]:
    if jobs == 1:
        yield from map(run_seed, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for done in as_completed([pool.submit(run_seed, seed) for seed in seeds]):
            yield done.result()


def seeds_of_commit(count: int) -> list[int]:
    """Return seeds that every commit has for itself, so that a run of the tests tries new ones."""
    commit = commit_of()
    first = int(commit[:10], 16) if commit else 0
    return [2**40 + first * 1_000 + number for number in range(count)]


def commit_of() -> str:
    """Return the commit that is checked out, or nothing outside a repository."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return git.stdout.strip() if git.returncode == 0 else ""
