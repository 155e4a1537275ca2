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

from bench.cluster import running_cluster
from bench.load import SCHEMA, SENDER, drive, sign_transactions
from bench.memory_chain import MemoryChain
from bench.report import Report, progress
from bench.stored_chain import VALIDATORS, Shape, StoredChain, spread
from ledger.rules.operations import AnchorBatch
from node.client.issuing.batchtree import LEAVES_MAX, BatchTree
from node.home.consortium import Network

OPERATIONS: Final = 1_000
EXECUTED_BLOCKS: Final = 20
TREE_LEAVES: Final = 200_000


def rate_of_execution(records: int, *, blocks: int) -> float:
    """Return records per second that building blocks of 1,000 alone reaches, on a state of that many records."""
    chain, source = MemoryChain(), random.Random(2)
    chain.fill(records)
    batches = [
        tuple(AnchorBatch(source.randbytes(32), 1, SCHEMA, None) for _ in range(OPERATIONS))
        for _ in range(blocks)
    ]
    start = time.perf_counter()
    for batch in batches:
        chain.extend(SENDER, *batch)
    return blocks * OPERATIONS / (time.perf_counter() - start)


def rate_of_leaves(count: int) -> float:
    """Return leaves per second that an issuer hashes into a batch's tree on one core."""
    source = random.Random(3)
    leaves = [source.randbytes(32) for _ in range(count)]
    start = time.perf_counter()
    BatchTree.build(leaves, count)
    return count / (time.perf_counter() - start)


def prepare(network: Network, records: int) -> None:
    """Give all validators a state of so many records."""
    home = network.homes[VALIDATORS[0]]
    chain = StoredChain(network, home, blocks_count=records // OPERATIONS + 1)
    try:
        chain.fill(records, Shape(1, OPERATIONS), lambda done: progress("filling the state", done))
    finally:
        chain.close()
    spread(network, source=home)


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="How long to submit.")
@click.option("--records", default=100_000, show_default=True, help="Records in the state before.")
@click.option("--transactions", default=400, show_default=True, help="How many to sign for the measurement.")
@click.option("--clients", default=2, show_default=True, help="Requests under way at each node.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(seconds: float, records: int, transactions: int, clients: int, quick: bool, as_json: bool) -> None:
    """Measure documents anchored per second, one record each, in transactions of a thousand."""
    del as_json
    if quick:
        seconds, records, transactions, clients = 0.5, 2_000, 8, 1
    progress("executing alone", 0)
    execution = rate_of_execution(records, blocks=1 if quick else EXECUTED_BLOCKS)
    progress("hashing batches", 0.15)
    leaves = rate_of_leaves(2_000 if quick else TREE_LEAVES)
    with running_cluster(prepare=lambda network: prepare(network, records)) as cluster:
        chain_id = cluster.network.genesis.content.chain_id
        progress("signing", 0.5)
        signed = sign_transactions(chain_id, transactions, operations_count=OPERATIONS)
        progress("anchoring", 0.6)
        found = drive(cluster, signed, clients=clients, batch=1, seconds=seconds)
    progress("anchoring", 1)
    cores = len(os.sched_getaffinity(0))
    rate = found.rate * OPERATIONS
    Report(
        name="anchors",
        figure=rate,
        unit="documents anchored per second, a record each",
        limit=execution * cores / len(VALIDATORS),
        limit_is="records per second that executing alone reaches on one core, times cores, / 4 validators",
        details={
            **found.details(),
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
