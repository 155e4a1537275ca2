"""`make soak`: chaos for some minutes, one line of figures at the end, exit code 1 for anything that must not be."""

import argparse
import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from tests.campaigns.chaos.founding import MEMBERS_MAX, MEMBERS_MIN
from tests.campaigns.chaos.results import covered_digest
from tests.campaigns.chaos.soak import Figures, Soak

NAMESPACE_MARK = "LUOHU_CHAOS_MOUNTS"
VIOLATIONS_SHOWN_MAX = 20


def main() -> None:
    """Run, print, and keep the evidence of a failure."""
    arguments = _parse()
    if arguments.mounts and NAMESPACE_MARK not in os.environ:
        # Mounts of this run are in a namespace of its own: nothing of them outlives it.
        os.environ[NAMESPACE_MARK] = "yes"
        command = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            sys.executable,
            "-m",
            "tests.campaigns.chaos",
        ]
        os.execvp(command[0], [*command, *sys.argv[1:]])
    directory = Path(tempfile.mkdtemp(prefix="luohu-chaos-"))
    soak = Soak(
        directory,
        seed=arguments.seed,
        members_count=arguments.nodes,
        mounted=arguments.mounts,
        say=lambda line: print(line, flush=True),
    )
    began, source = time.monotonic(), covered_digest()
    least_s: float = 60 * arguments.minutes
    faults_min: int = arguments.faults

    def is_over(seconds: float, faults_count: int) -> bool:
        # A machine that is slow today takes longer, but not forever.
        return seconds >= least_s and (faults_count >= faults_min or seconds >= 2 * least_s)

    figures = asyncio.run(soak.run(is_over))
    line = describe(arguments, figures, soak, (time.monotonic() - began) / 60, source)
    print(line)
    if arguments.out is not None:
        with arguments.out.open("a") as out:
            out.write(line + "\n")
    if figures.violations:
        for violation in figures.violations[:VIOLATIONS_SHOWN_MAX]:
            print(f"violation: {violation}")
        print(f"kept: {directory} (schedule.jsonl, homes and logs); seed {arguments.seed}")
        sys.exit(1)
    shutil.rmtree(directory, ignore_errors=True)


def describe(arguments: argparse.Namespace, figures: Figures, soak: Soak, minutes: float, source: str) -> str:
    """Return the run as one line."""
    found, history = figures.judgement, soak.history
    kinds = ",".join(f"{kind}:{count}" for kind, count in sorted(figures.faults.items()))
    counts = {
        "seed": arguments.seed,
        "nodes": arguments.nodes,
        "minutes": f"{minutes:.1f}",
        "commit": _commit(),
        "source": source,
        "faults": figures.faults_count,
        "kinds": kinds,
        "height": found.height if found else "unknown",
        "submitted": history.submitted_count,
        "acknowledged": len(history.acknowledged),
        "refused": len(history.refused),
        "unsettled": history.unknown_count,
        "reads": len(history.reads),
        "lost": len(found.lost) if found else "unknown",
        "doubled": len(found.doubled) if found else "unknown",
        "forked": len(found.forked) if found else "unknown",
        "resurrected": len(found.resurrected) if found else "unknown",
        "contradicted": len(found.contradicted) if found else "unknown",
        "other_failures": len(figures.failures),
        "misbehaviour_seen": figures.misbehaviour_count,
        "rotations": len(history.rotations),
        "longest_outage_s": f"{figures.longest_outage_s:.1f}",
        "slowest_return_s": f"{figures.slowest_return.seconds:.2f}",
        "slowest_return_after": figures.slowest_return.after,
        "return_allowance_s": f"{figures.return_allowance_s:.2f}",
        "slowest_after_fault_s": f"{figures.slowest_after_fault.seconds:.2f}",
        "slowest_after_fault": figures.slowest_after_fault.after,
        "slowest_rejoin_s": f"{figures.slowest_rejoin.seconds:.2f}",
        "slowest_rejoin_after": figures.slowest_rejoin.after,
        "longest_silence_s": f"{figures.longest_silence_s:.2f}",
        "rss_max_mib": figures.rss_max_mib,
        "disk": "tmpfs" if arguments.mounts else "rlimit",
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "aiohttp": version("aiohttp"),
        "cryptography": version("cryptography"),
    }
    return "chaos " + " ".join(f"{name}={value}" for name, value in counts.items())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument(
        "--faults",
        type=int,
        default=0,
        help="go on until there were that many, for twice the minutes at most",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=MEMBERS_MIN, choices=range(MEMBERS_MIN, MEMBERS_MAX + 1))
    parser.add_argument("--out", type=Path, help="append the line of figures to this file")
    can_mount = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("unshare") is not None
    parser.add_argument("--mounts", action=argparse.BooleanOptionalAction, default=can_mount)
    return parser.parse_args()


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        ["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False
    )
    return (found.stdout.strip() or "unknown") + ("+changes" if changed.stdout.strip() else "")


if __name__ == "__main__":
    main()
