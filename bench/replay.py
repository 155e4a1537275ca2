"""How many transactions an audit from genesis replays per second, on all cores.

    python -m bench.replay --json

The chain lies in a store, as a node leaves it; the audit is that of `luohu audit --home`: every block executed again,
every signature checked again, by processes ahead of the replay. The limit is raw signature checks on all cores.
"""

import time
from pathlib import Path
from typing import Final

import click

from bench.load import rate_on_all_cores
from bench.report import Report, progress
from bench.stored_chain import Shape, StoredChain, fresh_network
from cli.checking import checking_pool
from ledger.audit import Audit, AuditReport
from ledger.genesis import Genesis
from node.files.folders import passing_folder
from node.home.repair import CHAIN
from node.storage.store import Store

TRANSACTIONS_PER_BLOCK: Final = 500


def audit(store: Store, genesis: Genesis, *, is_parallel: bool) -> tuple[AuditReport, float]:
    """Replay what a store holds; return the report, and how many seconds it took."""
    replay = Audit(genesis)
    heights = range(1, store.tip().header.height + 1)
    stored = ((store.load_block(height), store.find_certificate(height)) for height in heights)
    blocks = ((block, certificate) for block, certificate in stored if block is not None)
    with checking_pool() as pool:
        if is_parallel:
            # The processes are there when the clock starts, as they are for all but the first moments of an audit.
            pool.submit(len, ()).result()
        began = time.perf_counter()
        replay.replay_all(blocks, pool if is_parallel else None)
        report = replay.finish()
        return report, time.perf_counter() - began


@click.command()
@click.option("--transactions", default=60_000, show_default=True, help="Transactions on the chain.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(transactions: int, quick: bool, as_json: bool) -> None:
    """Measure an audit, its signatures checked ahead, and the same in sequence."""
    del as_json
    if quick:
        transactions = 1_000
    with passing_folder(None, prefix="luohu-bench-") as directory:
        network = fresh_network(Path(directory) / "network")
        home = network.homes["hk-bureau"]
        blocks_count = transactions // TRANSACTIONS_PER_BLOCK
        chain = StoredChain(network, home, blocks_count=blocks_count)
        chain.fill(
            transactions, Shape(TRANSACTIONS_PER_BLOCK, 1), lambda done: progress("making a chain", done)
        )
        chain.close()
        before = rate_on_all_cores(200 if quick else 5_000)
        store = Store.open(home.data / CHAIN, network.genesis)
        progress("replaying", 0.3)
        report, seconds = audit(store, network.genesis, is_parallel=True)
        progress("in sequence", 0.6)
        sequential, sequential_seconds = audit(store, network.genesis, is_parallel=False)
        store.close()
        after = rate_on_all_cores(200 if quick else 5_000)
    assert report.is_clean and report == sequential, "both audits find the same, and nothing wrong"
    assert report.transactions_count == transactions, "all of it was replayed"
    progress("replaying", 1)
    Report(
        name="replay",
        figure=transactions / seconds,
        unit="transactions replayed per second",
        limit=(before + after) / 2,
        limit_is="raw signature checks per second on all cores, before and after",
        details={
            "transactions": transactions,
            "blocks": report.height,
            "sequential_per_second": round(transactions / sequential_seconds),
            "signature_checks_per_second": [round(before), round(after)],
        },
    ).print()


if __name__ == "__main__":
    main()
