"""`make abuse`: every flood for some seconds, one line each, exit code 1 where one costs others too much.

Before each flood the same is measured without one, once what the last one left is worked off, on the same machine.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from node.files.folders import passing_folder
from tests.campaigns.abuse.floods import FLOODS
from tests.campaigns.abuse.measure import Bench, Cost

FINALITY_S = 1.0
RSS_MAX_MIB = 512


async def measure(kinds: list[str], seconds: float) -> list[Cost]:
    """Return the cost of each flood, printing each as it is known."""
    costs: list[Cost] = []
    with passing_folder(None, prefix="luohu-abuse-") as directory:
        async with Bench(Path(directory)) as bench:
            for kind in kinds:
                await bench.settle()
                quiet = await bench.cost_of(None, seconds / 2)
                costs.append(await bench.cost_of(kind, seconds))
                print(f"{costs[-1]} without: n={len(quiet.latencies_s)} {quiet.described}", flush=True)
    return costs


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.abuse", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("kinds", nargs="*", default=sorted(FLOODS), metavar="KIND")
    arguments = parser.parse_args()
    costs = asyncio.run(measure(arguments.kinds, arguments.seconds))
    worst = [cost for cost in costs if not is_bounded(cost)]
    print(f"abuse floods={len(costs)} over_bound={','.join(cost.kind for cost in worst) or 'none'}")
    sys.exit(1 if worst else 0)


def is_bounded(cost: Cost) -> bool:
    """Say whether a flood left others their second, the flooded node its memory, and every honest call its answer."""
    is_quick = cost.percentile_s(99) < FINALITY_S and not cost.failures and not cost.unanswered
    return is_quick and cost.rss_max_mib < RSS_MAX_MIB and not cost.ended


if __name__ == "__main__":
    main()
