"""Fuzz every target: python -m tests.campaigns.fuzz [--minutes N] [--slice-seconds N] [--status] [TARGET...]

Where atheris is installed the fuzzer is guided by the coverage of our modules, for so many minutes of its processor
time on each target, in slices that take turns; what earlier runs did on the same code counts, and its corpus is
kept. Without atheris, or with --minutes 0, seeded random changes of the corpus are tried, so many for each
target. A finding is written to findings/TARGET and fails the run.
"""

import argparse
import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns.fuzz.corpus import FOLDER
from tests.campaigns.fuzz.random_changes import find_failure
from tests.campaigns.fuzz.results import (
    JOURNAL,
    RESULT,
    Slice,
    append_slice,
    describe_age,
    processor_s,
    read_slices,
    write_result,
)
from tests.support.sources import ROOT

FINDINGS = Path(__file__).with_name("findings")
GROWN = Path(__file__).with_name("grown")
TRIES = 20_000
SLICE_S = 120


def main() -> int:
    """Fuzz the targets; 0 where nothing was found."""
    from tests.campaigns.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--minutes", type=float, default=1.0, help="of processor time, for each target")
    parser.add_argument("--slice-seconds", type=int, default=SLICE_S, help="how long one target has its turn")
    parser.add_argument("--journal", type=Path, default=JOURNAL, help="where each slice is kept as it ends")
    parser.add_argument("--json", type=Path, help="write what the journal adds up to there")
    parser.add_argument(
        "--status", action="store_true", help="say whether the kept result is stale; run nothing"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.status:
        print(describe_age(RESULT))
        return 0
    if options.minutes == 0 or importlib.util.find_spec("atheris") is None:
        return _try_random_changes(options.targets, options.seed)
    found = _take_turns(options.targets, 60 * options.minutes, options.slice_seconds, options.journal)
    if options.json is not None:
        write_result(options.json, read_slices(options.journal))
    return int(found)


def _try_random_changes(names: Sequence[str], seed: int) -> int:
    from tests.campaigns.fuzz.targets import TARGETS

    failed = []
    for name in names:
        started = time.monotonic()
        failure = find_failure(TARGETS[name], name, seed=seed, tries=TRIES)
        failed += [] if failure is None else [name]
        took = time.monotonic() - started
        print(f"{name}: {TRIES} changes of the corpus: {failure or 'nothing'} ({took:.0f} s)", flush=True)
    return int(bool(failed))


def _take_turns(names: Sequence[str], seconds: float, slice_s: int, journal: Path) -> bool:
    """Fuzz each target in slices until it had its time; say whether anything was found."""
    failed: set[str] = set()
    while waiting := [
        name for name in names if name not in failed and processor_s(read_slices(journal), name) < seconds
    ]:
        for name in waiting:
            left = seconds - processor_s(read_slices(journal), name)
            done = _guided(name, min(slice_s, max(1, round(left))))
            append_slice(journal, done)
            failed |= {name} if done.found else set()
            print(
                f"{name}: {done.runs} runs, coverage {done.coverage}, {done.entries} entries in the corpus, "
                f"{done.processor_s:.0f} s{'; a finding' if done.found else ''}",
                flush=True,
            )
    return bool(failed)


def _guided(name: str, seconds: int) -> Slice:
    """Run atheris on a target in a process of its own, on a copy of the corpus that grows from slice to slice."""
    FINDINGS.mkdir(exist_ok=True)
    corpus = GROWN / name
    shutil.copytree(FOLDER / name, corpus, dirs_exist_ok=True)
    command = [sys.executable, "-m", "tests.campaigns.fuzz.guided", name, str(corpus)]
    command += [f"-max_total_time={seconds}", "-max_len=20000", "-timeout=60", "-rss_limit_mb=2048"]
    command += [f"-artifact_prefix={FINDINGS}/{name}-", "-print_final_stats=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = _children_s()
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    said = ran.stderr.decode(errors="replace")
    if ran.returncode != 0:
        print(said[-4000:])
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", said)
    coverage = re.findall(r"\bcov: (\d+)", said)
    entries = len(list(corpus.iterdir()))
    return Slice(
        target=name,
        processor_s=round(_children_s() - before, 1),
        runs=int(runs[-1]) if runs else 0,
        coverage=int(coverage[-1]) if coverage else 0,
        entries=entries,
        found=ran.returncode != 0,
    )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
