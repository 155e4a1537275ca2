"""How many documents are anchored per second: as records of their own, and under the roots of batches.

    python -m bench.anchors --json

Records: transactions of 1,000 anchors each, signed before the clock starts, on four durable validator processes whose
state holds `--records` records already. The limit is what executing them alone allows: all four execute every record,
on all cores together.

Roots: an issuer's own work on a batch, hashing its tree, on one core; the ledger takes a root for all of it.
"""

import os
import random
import time
from typing import Final

import click

from bench.cluster import VALIDATORS, Cluster, running_cluster
from bench.commit import SCHEMA, SENDER, drive
from bench.memory_chain import MemoryChain
from bench.report import Report, progress
from ledger.operations import AnchorBatch
from ledger.transactions import Transaction, TransactionBody
from node.client.issuing.batchtree import LEAVES_MAX, BatchTree
from node.development import development_key

OPERATIONS: Final = 1_000
VALID_MS: Final = 30 * 60_000
EXECUTED_BLOCKS: Final = 20
TREE_LEAVES: Final = 200_000
FILL_S_MAX: Final = 300.0


def sign_batches(chain_id: bytes, count: int, source: random.Random) -> list[Transaction]:
    """Return that many signed transactions, each of 1,000 anchors of roots of their own."""
    key = development_key(SENDER, "member")
    valid_until_ms = time.time_ns() // 1_000_000 + VALID_MS
    return [
        Transaction.sign(
            TransactionBody(chain_id, SENDER, valid_until_ms, tuple(anchors(OPERATIONS, source))), key
        )
        for _ in range(count)
    ]


def anchors(count: int, source: random.Random) -> list[AnchorBatch]:
    """Return that many anchors of one document each."""
    return [AnchorBatch(source.randbytes(32), 1, SCHEMA, None) for _ in range(count)]


def rate_of_execution(records: int) -> float:
    """Return records per second that building blocks of 1,000 alone reaches, on a state of that many records."""
    chain, source = MemoryChain(), random.Random(2)
    chain.fill(records)
    batches = [tuple(anchors(OPERATIONS, source)) for _ in range(EXECUTED_BLOCKS)]
    start = time.perf_counter()
    for batch in batches:
        chain.extend(SENDER, *batch)
    return EXECUTED_BLOCKS * OPERATIONS / (time.perf_counter() - start)


def rate_of_leaves() -> float:
    """Return leaves per second that an issuer hashes into a batch's tree on one core."""
    source = random.Random(3)
    leaves = [source.randbytes(32) for _ in range(TREE_LEAVES)]
    start = time.perf_counter()
    BatchTree.build(leaves, TREE_LEAVES)
    return TREE_LEAVES / (time.perf_counter() - start)


def fill(cluster: Cluster, transactions: list[Transaction], clients: int) -> None:
    """Have the state filled before the measurement. Raises RuntimeError where it takes too long."""
    found = drive(cluster, transactions, clients=clients, batch=1, seconds=FILL_S_MAX)
    if found["final"] < len(transactions) // len(cluster.urls) * len(cluster.urls):
        raise RuntimeError(f"only {found['final']} of {len(transactions)} transactions filled the state")


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="How long to submit.")
@click.option("--records", default=100_000, show_default=True, help="Records in the state before.")
@click.option("--transactions", default=400, show_default=True, help="How many to sign for the measurement.")
@click.option("--clients", default=2, show_default=True, help="Requests under way at each node.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(seconds: float, records: int, transactions: int, clients: int, as_json: bool) -> None:
    """Measure documents anchored per second, one record each, in transactions of a thousand."""
    del as_json
    progress("executing alone", 0)
    execution = rate_of_execution(records)
    progress("hashing batches", 0.15)
    leaves = rate_of_leaves()
    source = random.Random(time.time_ns())
    with running_cluster() as cluster:
        chain_id = cluster.network.genesis.content.chain_id
        progress("filling the state", 0.2)
        rest = len(cluster.urls)
        fill(cluster, sign_batches(chain_id, -(-records // OPERATIONS // rest) * rest, source), clients)
        progress("signing", 0.5)
        signed = sign_batches(chain_id, transactions, source)
        progress("anchoring", 0.6)
        found = drive(cluster, signed, clients=clients, batch=1, seconds=seconds)
    progress("anchoring", 1)
    cores = len(os.sched_getaffinity(0))
    rate = found["final"] * OPERATIONS / found["seconds"]
    Report(
        name="anchors",
        figure=rate,
        unit="documents anchored per second, a record each",
        limit=execution * cores / len(VALIDATORS),
        limit_is="records per second that executing alone reaches on one core, times cores, / 4 validators",
        details={
            **{key: round(value, 2) for key, value in found.items()},
            "operations_per_transaction": OPERATIONS,
            "records_before": records,
            "clients_per_node": clients,
            "executed_per_second_on_one_core": round(execution),
            "roots_per_second": round(rate),
            "leaves_per_root_max": LEAVES_MAX,
            "documents_per_second_under_roots_of_one_issuer_core": round(leaves),
        },
    ).print()


if __name__ == "__main__":
    main()
