"""Run many seeds: `python -m tests.campaigns.simulation.core --seeds N --start S`."""

import argparse
import sys
import time
from collections import Counter

from tests.campaigns.simulation.core.scenario import run_seed


def main() -> int:
    """Run seeds; one line of figures, one reproducing command for each failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.simulation.core", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--storm-ms", type=int, default=15_000, help="virtual time with faults")
    arguments = parser.parse_args()
    began = time.perf_counter()
    sometimes: Counter[str] = Counter()
    failures = heights = slowest_ms = events = 0
    for seed in range(arguments.start, arguments.start + arguments.seeds):
        try:
            outcome = run_seed(seed, storm_ms=arguments.storm_ms)
        except Exception as error:  # noqa: BLE001 - any exception is a finding, and the run goes on
            failures += 1
            again = f"--seeds 1 --start {seed} --storm-ms {arguments.storm_ms}"
            command = f"python -m tests.campaigns.simulation.core {again}"
            print(f"FAILED {type(error).__name__}: {str(error)[:600]}\n  {command}")
            continue
        sometimes += outcome.sometimes
        heights += outcome.heights
        events += outcome.events_count
        slowest_ms = max(slowest_ms, outcome.healed_after_ms)
    seconds = time.perf_counter() - began
    for name, count in sorted(sometimes.items()):
        print(f"  sometimes {count:>8}  {name}")
    print(
        f"seeds={arguments.seeds} failed={failures} heights={heights} events={events} "
        f"slowest_heal_ms={slowest_ms} seconds={seconds:.1f}"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
