"""How fast a new node catches up over loopback: by blocks, and by a snapshot.

    python -m bench.sync --json

Four validators hold a chain that was made through the rules and the storage; the auditor's node starts with an empty
disk. By blocks, the limit is raw signature checks on all cores; by snapshot, what is promised stands in the details.
"""

import asyncio
import subprocess
import time
from dataclasses import dataclass
from typing import Final

import click

from bench.cluster import Cluster, check_running, cpu_seconds, running_cluster, start, stop
from bench.load import rate_on_all_cores
from bench.report import Report, progress
from bench.stored_chain import VALIDATORS, Shape, StoredChain, spread
from cli.processes import LOG_FILE
from ledger.chain.snapshots import SNAPSHOT_INTERVAL
from node.client.client import Client
from node.errors import Unreachable
from node.home.consortium import Network
from node.home.home import Home

FOLLOWER: Final = "auditor"
TRANSACTIONS_PER_BLOCK: Final = 500
SNAPSHOT_RECORDS_PER_SECOND: Final = 50_000
SNAPSHOT_SHAPE: Final = Shape(5, 1_000)
INSTALLED: Final = "sync.snapshot_installed"
CATCH_UP_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """How long it took from the first answer of the new node to a height, and its processor time."""

    seconds: float
    first_height: int
    cpu_seconds: float


def prepare(network: Network, blocks_count: int, shape: Shape, *, empty_count: int = 0) -> None:
    """Give all validators a chain, of which the last blocks may be empty."""
    home = network.homes[VALIDATORS[0]]
    chain = StoredChain(network, home, blocks_count=blocks_count + empty_count)
    try:
        chain.fill(
            blocks_count * shape.records_per_block, shape, lambda done: progress("making a chain", done)
        )
        for index in range(empty_count):
            chain.extend_with(())
            progress("making empty blocks", (index + 1) / empty_count)
        chain.commit()
    finally:
        chain.close()
    spread(network, source=home)


def catch_up(cluster: Cluster, height: int) -> CaughtUp:
    """Start the new node, and wait until it stands at a height."""
    home = cluster.network.homes[FOLLOWER]
    process = start(home.path, 0.0)
    try:
        return asyncio.run(_follow(home, process, height))
    finally:
        stop((process,))


async def _follow(home: Home, process: "subprocess.Popen[bytes]", height: int) -> CaughtUp:
    url = f"http://{home.require_node().api}"
    async with asyncio.timeout(CATCH_UP_S), Client.connect(url) as client:
        began: float | None = None
        first_height, used = 0, 0.0
        while True:
            try:
                reached = (await client.status()).height
            except Unreachable:
                check_running(process, home.path)
                await asyncio.sleep(0.01)
                continue
            if began is None:
                began, first_height, used = time.perf_counter(), reached, cpu_seconds(process)
            if reached >= height:
                seconds = time.perf_counter() - began
                return CaughtUp(seconds, first_height, cpu_seconds(process) - used)
            progress("catching up", reached / height)
            await asyncio.sleep(0.02)


def by_blocks(blocks_count: int) -> tuple[float, dict[str, object]]:
    """Return transactions caught up with per second, and what stands beside it."""
    shape = Shape(TRANSACTIONS_PER_BLOCK, 1)
    with running_cluster(prepare=lambda network: prepare(network, blocks_count, shape)) as cluster:
        found = catch_up(cluster, blocks_count)
    count = (blocks_count - found.first_height) * TRANSACTIONS_PER_BLOCK
    return count / found.seconds, {
        "transactions": count,
        "seconds": round(found.seconds, 2),
        "node_cpu_share": round(found.cpu_seconds / found.seconds, 2),
    }


def by_snapshot(blocks_count: int) -> dict[str, object]:
    """Return records per second of a node that is far enough behind for a snapshot to be taken.

    That is more than two intervals; the records lie in the first blocks, and the others are empty.
    """
    shape, height = SNAPSHOT_SHAPE, 3 * SNAPSHOT_INTERVAL
    empty_count = height + 8 - blocks_count
    with running_cluster(
        prepare=lambda network: prepare(network, blocks_count, shape, empty_count=empty_count)
    ) as cluster:
        found = catch_up(cluster, height)
        if cluster.network.homes[FOLLOWER].path.joinpath(LOG_FILE).read_text().count(INSTALLED) != 1:
            raise RuntimeError("the node caught up without a snapshot")
    records = blocks_count * shape.records_per_block
    return {
        "records": records,
        "seconds": round(found.seconds, 2),
        "records_per_second": round(records / found.seconds),
        "records_per_second_promised": SNAPSHOT_RECORDS_PER_SECOND,
        "node_cpu_share": round(found.cpu_seconds / found.seconds, 2),
    }


@click.command()
@click.option(
    "--blocks", default=100, show_default=True, help=f"Blocks of {TRANSACTIONS_PER_BLOCK} transactions."
)
@click.option(
    "--snapshot-blocks", default=60, show_default=True, help="Blocks of 5,000 records in the snapshot."
)
@click.option("--quick", is_flag=True, help="A smoke run without the snapshot: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(blocks: int, snapshot_blocks: int, quick: bool, as_json: bool) -> None:
    """Measure a new node that catches up."""
    del as_json
    if quick:
        blocks = 2
    checks = rate_on_all_cores(200 if quick else 5_000)
    rate, details = by_blocks(blocks)
    if not quick:
        details["by_snapshot"] = by_snapshot(snapshot_blocks)
    progress("catching up", 1)
    Report(
        name="sync",
        figure=rate,
        unit="transactions per second, by blocks",
        limit=checks,
        limit_is="raw signature checks per second on all cores",
        details=details,
    ).print()


if __name__ == "__main__":
    main()
