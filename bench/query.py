"""How many reads with proof one node answers per second, and how long they take while it commits.

    python -m bench.query --json

A reader process asks for leaves of the state with their proofs. The limit is what the same reader gets of the
same node where there is nothing to read: /v1/health.
"""

import threading
import time
from typing import Final

import click

from bench.cluster import Cluster, running_cluster
from bench.load import SENDER, drive, period_ms_of, sign_transactions
from bench.reader import Reader
from bench.report import Report, percentile, progress
from ledger.rules.operations import AnchorBatch
from ledger.rules.state import anchor_key
from ledger.rules.transactions import Transaction

CLIENTS: Final = 8
COMMITS_PER_SECOND: Final = 500
BATCH: Final = 50


def state_paths(transactions: list[Transaction]) -> list[str]:
    """Return the routes of the anchors that these transactions recorded."""
    return [
        f"/v1/state/{anchor_key(SENDER, operation.root).hex()}"
        for transaction in transactions
        for operation in transaction.body.operations
        if isinstance(operation, AnchorBatch)
    ]


def while_committing(
    cluster: Cluster, paths: list[str], transactions: list[Transaction], *, rate: float, seconds: float
) -> dict[str, object]:
    """Read from the first node while the network commits at a rate that it bears easily."""
    period_ms = period_ms_of(rate, nodes_count=len(cluster.urls), clients=1, batch=BATCH)
    committing = threading.Thread(
        target=drive,
        args=(cluster, transactions),
        kwargs={"clients": 1, "batch": BATCH, "seconds": seconds + 1, "period_ms": period_ms},
    )
    committing.start()
    try:
        time.sleep(0.5)
        outcome = Reader(cluster.urls[0], paths, clients=CLIENTS, seconds=seconds).outcome()
    finally:
        committing.join()
    return {
        "reads_per_second": round(outcome.rate),
        "read_ms_p99": round(1_000 * percentile(outcome.request_seconds, 99), 2),
        "commits_per_second_asked": rate,
    }


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="How long to read, three times.")
@click.option("--records", default=20_000, show_default=True, help="Anchors in the state.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(seconds: float, records: int, quick: bool, as_json: bool) -> None:
    """Measure reads with proof from one node, alone and while it commits."""
    del as_json
    rate = float(COMMITS_PER_SECOND)
    if quick:
        seconds, records, rate = 0.2, 400, 100.0
    with running_cluster() as cluster:
        chain_id = cluster.network.genesis.content.chain_id
        progress("recording", 0)
        recorded = sign_transactions(
            chain_id, max(4, records // 200), operations_count=min(200, records // 4)
        )
        drive(cluster, recorded, clients=1, batch=1, seconds=60.0)
        paths = state_paths(recorded)
        progress("health", 0.3)
        limit = Reader(cluster.urls[0], ["/v1/health"], clients=CLIENTS, seconds=seconds / 2).outcome()
        progress("reading", 0.5)
        alone = Reader(cluster.urls[0], paths, clients=CLIENTS, seconds=seconds).outcome()
        progress("while committing", 0.75)
        more = sign_transactions(chain_id, int(rate * (seconds + 2)))
        busy = while_committing(cluster, paths, more, rate=rate, seconds=seconds)
    progress("reading", 1)
    Report(
        name="query",
        figure=alone.rate,
        unit="reads with proof per second from one node",
        limit=limit.rate,
        limit_is="the same reader's requests per second for /v1/health of the same node",
        details={
            "records": len(paths),
            "clients": CLIENTS,
            "read_ms_p50": round(1_000 * percentile(alone.request_seconds, 50), 2),
            "read_ms_p99": round(1_000 * percentile(alone.request_seconds, 99), 2),
            "reader_cpu_share": round(alone.cpu_seconds / alone.seconds, 3),
            "refused": alone.refused_count,
            "while_committing": busy,
        },
    ).print()


if __name__ == "__main__":
    main()
