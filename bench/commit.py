"""How many transactions of one anchor each become final per second on four durable validator processes.

    python -m bench.commit --json

The transactions are signed before the clock starts; a generator process for each node submits them in batches.
The limit is what raw signature checks allow: every validator checks every signature, on all cores together.
Where an `etcd` is on the path, three of it are measured in the same run: `bench.etcd` says how.
"""

import asyncio
import shutil

import click

from bench.cluster import running_cluster, synced_writes
from bench.etcd import etcd_rate
from bench.load import drive, rate_on_all_cores, sign_transactions
from bench.report import Report, progress
from bench.stored_chain import VALIDATORS
from node.client.client import Client

VALUE_SIZE = 210
"""An encoded transaction of one anchor."""


async def height_of(url: str) -> int:
    """Return the height of a node's tip."""
    async with Client.connect(url) as client:
        return (await client.status()).height


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="How long to submit.")
@click.option("--transactions", default=100_000, show_default=True, help="How many to sign in advance.")
@click.option("--clients", default=4, show_default=True, help="Requests under way at each node.")
@click.option("--batch", default=200, show_default=True, help="Transactions in a request.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(seconds: float, transactions: int, clients: int, batch: int, quick: bool, as_json: bool) -> None:
    """Measure sustained commits on four validator processes with TLS, LevelDB and synced vote logs."""
    del as_json
    if quick:
        seconds, transactions, clients, batch = 1.0, 80, 1, 20
    progress("raw signature checks", 0)
    checks = rate_on_all_cores(200 if quick else 5_000)
    with running_cluster() as cluster:
        progress("signing", 0.1)
        signed = sign_transactions(cluster.network.genesis.content.chain_id, transactions)
        progress("committing", 0.3)
        before, synced = asyncio.run(height_of(cluster.urls[0])), synced_writes(cluster)
        found = drive(cluster, signed, clients=clients, batch=batch, seconds=seconds)
        blocks = asyncio.run(height_of(cluster.urls[0])) - before
        synced = {kind: count - synced[kind] for kind, count in synced_writes(cluster).items()}
    details: dict[str, object] = {
        **found.details(),
        "batch": batch,
        "clients_per_node": clients,
        "blocks": blocks,
        "synced_writes_per_block_of_one_node": {
            kind: round(count / max(1, blocks), 2) for kind, count in synced.items()
        },
        "signature_checks_per_second": round(checks),
    }
    if shutil.which("etcd") is not None and not quick:
        progress("etcd", 0.7)
        details["etcd"] = etcd_rate(seconds=seconds / 2, value_size=VALUE_SIZE)
    progress("committing", 1)
    Report(
        name="commit",
        figure=found.rate,
        unit="transactions final per second",
        limit=checks / len(VALIDATORS),
        limit_is="raw signature checks per second on all idle cores / 4 validators",
        details=details,
    ).print()


if __name__ == "__main__":
    main()
