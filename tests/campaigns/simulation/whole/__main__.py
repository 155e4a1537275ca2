"""Run many seeds, or one schedule: `make simulate SEEDS=… START=… JOBS=… OUT=…`."""

import argparse
import datetime
import json
import platform
import sys
from pathlib import Path

from tests.campaigns.simulation.whole.campaign import (
    Failure,
    Report,
    command_for,
    commit_of,
    run_campaign,
)
from tests.campaigns.simulation.whole.schedule import Schedule, plan
from tests.campaigns.simulation.whole.shards import covered_digest
from tests.campaigns.simulation.whole.shrinking import shrink
from tests.campaigns.simulation.whole.world import Outcome, run
from tests.support.machine import jobs_of_machine

TELL_EVERY = 25


def main() -> int:
    """Run what was asked for; 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.simulation.whole", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=jobs_of_machine(), help="how many processes")
    parser.add_argument(
        "--out", type=Path, help="append the figures of this shard to a file, as one line of JSON"
    )
    parser.add_argument("--replay", type=Path, help="run a stored schedule instead")
    parser.add_argument(
        "--record", type=Path, help="store the schedule of the first seed, shrunk if it fails"
    )
    parser.add_argument("--trace", action="store_true", help="print what happens in the first seed")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        print(run(Schedule.load(arguments.replay)))
        return 0
    if arguments.trace:
        run(plan(arguments.start), listener=lambda now_ms, line: print(now_ms, line))
        return 0
    if arguments.record is not None:
        arguments.record.write_text(shrink(plan(arguments.start)).to_json())
        return 0
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    source = covered_digest()
    report = run_campaign(seeds, jobs=arguments.jobs, tell=tell)
    for line in report.counters():
        print(line)
    for name in report.never():
        print(f"NEVER: {name}")
    for failure in report.failures:
        print(failure)
    for seed in report.thin:
        print(f"THIN seed {seed}\n  {command_for(seed)}")
    print(report.line())
    if arguments.out is not None:
        with arguments.out.open("a") as file:
            file.write(json.dumps(shard(report, arguments.start, source=source)) + "\n")
    return int(report.has_failed)


def tell(report: Report, result: Outcome | Failure) -> None:
    """Show progress, and a failure at once: a campaign may be ended before its end."""
    if isinstance(result, Failure):
        print(result, file=sys.stderr, flush=True)
    if report.seeds_count % TELL_EVERY == 0:
        print(f"  {report.line()}", file=sys.stderr, flush=True)


def shard(report: Report, start: int, *, source: str) -> dict[str, object]:
    """Return a shard's figures."""
    return {
        "commit": commit_of(),
        "source": source,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()} {platform.system()} Python {platform.python_version()}",
        "start": start,
        "seeds": report.seeds_count,
        "failed": [failure.seed for failure in report.failures],
        "thin": report.thin,
        "sizes": {str(size): count for size, count in sorted(report.sizes.items())},
        "heights": report.heights,
        "transactions": report.transactions,
        "faults": report.faults,
        "line": report.line(),
        "sometimes": dict(sorted(report.sometimes.items())),
    }


if __name__ == "__main__":
    sys.exit(main())
