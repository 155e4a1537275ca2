"""What a quiet node costs: processor time and disk growth while nobody asks anything of it.

    python -m bench.idle --json

The limit is what is promised: one percent of a core; growth of the database stands in the details, per day. The vote
log is rewritten when it has some thousand records, so it does not grow with time.
"""

import asyncio
import time
from typing import Final

import click

from bench.cluster import cpu_seconds, resident_bytes, running_cluster
from bench.growth import disk_bytes
from bench.load import drive, sign_transactions
from bench.report import Report, progress
from node.home.repair import CHAIN

CPU_SHARE_MAX: Final = 0.01
DISK_MB_PER_DAY_MAX: Final = 10.0
DAY_S: Final = 86_400


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long to watch.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(seconds: float, quick: bool, as_json: bool) -> None:
    """Measure four quiet validators."""
    del as_json
    seconds = 1.0 if quick else seconds
    with running_cluster() as cluster:
        # Something happened before; now it is over.
        signed = sign_transactions(cluster.network.genesis.content.chain_id, 40)
        drive(cluster, signed, clients=1, batch=10, seconds=10.0)
        time.sleep(0.2 if quick else 5.0)
        before = [cpu_seconds(process) for process in cluster.processes]
        sizes = [disk_bytes(cluster.home(index) / "data" / CHAIN) for index in range(len(cluster.processes))]
        began = time.perf_counter()
        asyncio.run(watch(seconds))
        elapsed = time.perf_counter() - began
        used = [
            cpu_seconds(process) - earlier for process, earlier in zip(cluster.processes, before, strict=True)
        ]
        grown = [disk_bytes(cluster.home(index) / "data" / CHAIN) - size for index, size in enumerate(sizes)]
        resident = [resident_bytes(process)[0] for process in cluster.processes]
    progress("quiet", 1)
    Report(
        name="idle",
        figure=max(used) / elapsed,
        unit="share of a core that the busiest quiet node takes",
        limit=CPU_SHARE_MAX,
        limit_is="what is promised",
        details={
            "cpu_share_of_each": [round(each / elapsed, 4) for each in used],
            "disk_mb_per_day": round(max(grown) / elapsed * DAY_S / 1e6, 3),
            "disk_mb_per_day_promised": DISK_MB_PER_DAY_MAX,
            "resident_mb": round(max(resident) / 1e6, 1),
            "seconds": round(elapsed, 1),
        },
        is_lower_better=True,
    ).print()


async def watch(seconds: float) -> None:
    """Wait, and show how far."""
    for passed in range(int(seconds)):
        progress("quiet", passed / seconds)
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    main()
