"""Fuzz every target: python -m tests.fuzz [--minutes N] [--seed N] [TARGET...]

Where atheris is installed the fuzzer is guided by the coverage of our modules (--minutes for each target);
without it, or with --minutes 0, seeded random changes of the corpus are tried, so many for each target.
A finding is written to findings/TARGET and fails the run.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.corpus import FOLDER
from tests.fuzz.random_changes import find_failure

ROOT = Path(__file__).resolve().parents[2]
FINDINGS = Path(__file__).with_name("findings")
TRIES = 20_000


def main() -> int:
    """Fuzz the targets one after the other; 0 where nothing was found."""
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    is_guided = options.minutes > 0 and importlib.util.find_spec("atheris") is not None
    failed = []
    for name in options.targets:
        started = time.monotonic()
        if is_guided:
            found, said = _guided(name, options.minutes)
        else:
            failure = find_failure(TARGETS[name], name, seed=options.seed, tries=TRIES)
            found, said = failure is not None, f"{TRIES} changes of the corpus: {failure or 'nothing'}"
        if found:
            failed.append(name)
        print(f"{name}: {said} ({time.monotonic() - started:.0f} s)", flush=True)
    return int(bool(failed))


def _guided(name: str, minutes: float) -> tuple[bool, str]:
    """Run atheris on a target in a process of its own, on a copy of the corpus."""
    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        shutil.copytree(FOLDER / name, corpus)
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(corpus)]
        command += [
            f"-max_total_time={round(60 * minutes)}",
            "-max_len=20000",
            "-timeout=20",
            "-rss_limit_mb=2048",
        ]
        command += [f"-artifact_prefix={FINDINGS}/{name}-", "-print_final_stats=1"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
        entries = len(list(corpus.iterdir()))
    said = ran.stderr.decode(errors="replace")
    stats = dict(line.split(":", 3)[2:] for line in said.splitlines() if line.startswith("stat::"))
    if ran.returncode != 0:
        print(said[-4000:])
    runs = stats.get("number_of_executed_units", "?").strip()
    return ran.returncode != 0, f"{runs} runs, {entries} entries in the corpus"


if __name__ == "__main__":
    sys.exit(main())
