"""How a network fares as its state grows: commit rate, finality, memory, disk and restart by number of records.

    python -m bench.growth --json

The records are loaded through the transition and the storage into one store, whose files every validator gets; then
the network is started on them and measured like any other. The limit is the rate at the smallest state.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

import click

from bench.cluster import Cluster, resident_bytes, running_cluster, start, stop, wait_until_ready
from bench.load import drive, sign_transactions
from bench.report import Report, progress
from bench.stored_chain import VALIDATORS, Shape, StoredChain, spread
from node.home.consortium import Network
from node.home.repair import CHAIN

SIZES: Final = (10_000, 100_000, 1_000_000)
SHAPE: Final = Shape(5, 1_000)


def prepare(network: Network, records_count: int) -> None:
    """Load the records into the homes of all validators."""
    home = network.homes[VALIDATORS[0]]
    chain = StoredChain(network, home, blocks_count=records_count // SHAPE.records_per_block + 1)
    try:
        chain.fill(records_count, SHAPE, lambda done: progress(f"loading {records_count}", done))
    finally:
        chain.close()
    spread(network, source=home)


def measure(cluster: Cluster, *, seconds: float, transactions_count: int) -> dict[str, float]:
    """Return what the running network does on the state that it has."""
    signed = sign_transactions(cluster.network.genesis.content.chain_id, transactions_count)
    found = drive(cluster, signed, clients=4, batch=100, seconds=seconds)
    details = found.details()
    resident, of_files = max(resident_bytes(process) for process in cluster.processes)
    return {
        "commits_per_second": round(found.rate, 1),
        "finality_ms_p99": float(f"{details['request_ms_p99']}"),
        "resident_mb": round(resident / 1e6, 1),
        "resident_of_files_mb": round(of_files / 1e6, 1),
    }


def restart_seconds(cluster: Cluster) -> float:
    """Stop the last node and start it again; return how long it takes from start to serving."""
    stop(cluster.processes[-1:])
    began = time.perf_counter()
    home = cluster.home(len(VALIDATORS) - 1)
    process = start(home, 0.0)
    try:
        asyncio.run(wait_until_ready(cluster.urls[-1], process, home))
        return time.perf_counter() - began
    finally:
        stop((process,))


def disk_bytes(directory: Path) -> int:
    """Return how many bytes the files of a directory hold."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@click.command()
@click.option(
    "--sizes", default=",".join(map(str, SIZES)), show_default=True, help="Records, in rising order."
)
@click.option("--seconds", default=10.0, show_default=True, help="How long to commit at each size.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(sizes: str, seconds: float, quick: bool, as_json: bool) -> None:
    """Measure commits, finality, memory, disk and restart as the state grows."""
    del as_json
    counts, transactions_count = [int(size) for size in sizes.split(",")], int(4_000 * seconds)
    if quick:
        counts, seconds, transactions_count = [5_000], 0.5, 400
    found: dict[int, dict[str, float]] = {}
    for records_count in counts:
        with running_cluster(prepare=lambda network, count=records_count: prepare(network, count)) as cluster:  # type: ignore[misc]
            size = disk_bytes(cluster.home(0) / "data" / CHAIN)
            progress(f"committing at {records_count}", 0.5)
            found[records_count] = {
                **measure(cluster, seconds=seconds, transactions_count=transactions_count),
                "disk_bytes_per_record": round(size / records_count, 1),
                "restart_seconds": round(restart_seconds(cluster), 2),
            }
    progress("growth", 1)
    smallest, largest = found[counts[0]], found[counts[-1]]
    Report(
        name="growth",
        figure=largest["commits_per_second"],
        unit=f"transactions final per second at {counts[-1]} records",
        limit=smallest["commits_per_second"],
        limit_is=f"the same at {counts[0]} records",
        details={f"{count}_records": {**each} for count, each in found.items()},
    ).print()


if __name__ == "__main__":
    main()
