"""How many transactions of one anchor each become final per second on four durable validator processes.

    python -m bench.commit --json

The transactions are signed before the clock starts; a generator process for each node submits them in batches.
The limit is what raw signature checks allow: every validator checks every signature, on all cores together.
"""

import multiprocessing
import random
import tempfile
import time
from pathlib import Path
from typing import Final

import click

from bench.cluster import VALIDATORS, Cluster, cpu_seconds, running_cluster
from bench.generator import Generator
from bench.report import Report, percentile, progress
from bench.verify import rate_of_signature_checks
from ledger.operations import AnchorBatch
from ledger.transactions import Transaction, TransactionBody
from node.development import development_key

SENDER: Final = "hk-bureau"
SCHEMA: Final = "hk.credit-report"


def sign_transactions(chain_id: bytes, count: int) -> list[Transaction]:
    """Return that many signed transactions, each anchoring a root of its own."""
    source = random.Random(time.time_ns())
    key = development_key(SENDER, "member")
    valid_until_ms = time.time_ns() // 1_000_000 + 30 * 60_000
    return [
        Transaction.sign(
            TransactionBody(
                chain_id, SENDER, valid_until_ms, (AnchorBatch(source.randbytes(32), 1, SCHEMA, None),)
            ),
            key,
        )
        for _ in range(count)
    ]


def rate_on_all_cores() -> float:
    """Return raw signature checks per second on all idle cores together."""
    cores = multiprocessing.cpu_count()
    with multiprocessing.Pool(cores) as pool:
        return sum(pool.map(rate_of_signature_checks, [5_000] * cores))


def drive(
    cluster: Cluster, transactions: list[Transaction], *, clients: int, batch: int, seconds: float
) -> dict[str, float]:
    """Submit to all nodes at once; return what became final and what it cost."""
    share = len(transactions) // len(cluster.urls)
    with tempfile.TemporaryDirectory(prefix="luohu-bench-") as directory:
        generators = [
            Generator(
                url,
                transactions[index * share : (index + 1) * share],
                Path(directory),
                clients=clients,
                batch=batch,
                seconds=seconds,
            )
            for index, url in enumerate(cluster.urls)
        ]
        before = [cpu_seconds(process) for process in cluster.processes]
        start = time.perf_counter()
        for generator in generators:
            generator.go()
        outcomes = [generator.outcome() for generator in generators]
        elapsed = time.perf_counter() - start
        used = [cpu_seconds(process) for process in cluster.processes]
    times = sorted(second for outcome in outcomes for second in outcome.request_seconds)
    return {
        "final": sum(outcome.final_count for outcome in outcomes),
        "seconds": elapsed,
        "node_cpu_share": sum(b - a for a, b in zip(before, used, strict=True)) / elapsed,
        "generator_cpu_share": sum(outcome.cpu_seconds for outcome in outcomes) / elapsed,
        "request_ms_p50": 1_000 * percentile(times, 50),
        "request_ms_p99": 1_000 * percentile(times, 99),
    }


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="How long to submit.")
@click.option("--transactions", default=100_000, show_default=True, help="How many to sign in advance.")
@click.option("--clients", default=4, show_default=True, help="Requests under way at each node.")
@click.option("--batch", default=200, show_default=True, help="Transactions in a request.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(seconds: float, transactions: int, clients: int, batch: int, as_json: bool) -> None:
    """Measure sustained commits on four validator processes with TLS, LevelDB and synced vote logs."""
    del as_json
    progress("raw signature checks", 0)
    checks = rate_on_all_cores()
    with running_cluster() as cluster:
        progress("signing", 0.1)
        signed = sign_transactions(cluster.network.genesis.content.chain_id, transactions)
        progress("committing", 0.3)
        found = drive(cluster, signed, clients=clients, batch=batch, seconds=seconds)
    progress("committing", 1)
    Report(
        name="commit",
        figure=found["final"] / found["seconds"],
        unit="transactions final per second",
        limit=checks / len(VALIDATORS),
        limit_is="raw signature checks per second on all idle cores / 4 validators",
        details={
            **{key: round(value, 2) for key, value in found.items()},
            "batch": batch,
            "clients_per_node": clients,
            "signature_checks_per_second": round(checks),
        },
    ).print()


if __name__ == "__main__":
    main()
