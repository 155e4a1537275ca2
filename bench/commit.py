"""How many transactions of one anchor each become final per second on four durable validator processes.

    python -m bench.commit --json

The transactions are signed before the clock starts; one generator process submits them in batches to one node.
The limit is what raw signature checks allow: every validator checks every signature, on all cores together.
"""

import asyncio
import multiprocessing
import random
import tempfile
import time
from pathlib import Path
from typing import Final

import click

from bench.report import Report, progress
from bench.verify import rate_of_signature_checks
from cli.processes import start_node, stop_node
from ledger.operations import AnchorBatch
from ledger.transactions import Transaction, TransactionBody
from node.client.client import Client, Unreachable
from node.consortium import Network, new_network
from node.development import development_key
from node.scenarios import load_scenarios, scenarios_directory

VALIDATORS: Final = ("hk-bureau", "hk-operator", "mainland-bank", "sz-operator")
BATCH: Final = 100
CLIENTS: Final = 4
READY_S: Final = 30.0


def sign_transactions(network: Network, count: int) -> list[Transaction]:
    """Return that many signed transactions, each anchoring a root of its own."""
    source = random.Random(time.time_ns())
    key = development_key("hk-bureau", "member")
    valid_until_ms = time.time_ns() // 1_000_000 + 30 * 60_000
    chain_id = network.genesis.content.chain_id
    return [
        Transaction.sign(
            TransactionBody(
                chain_id,
                "hk-bureau",
                valid_until_ms,
                (AnchorBatch(source.randbytes(32), 1, "hk.credit-report", None),),
            ),
            key,
        )
        for _ in range(count)
    ]


async def wait_until_ready(url: str) -> None:
    """Wait until a node serves. Raises TimeoutError."""
    async with asyncio.timeout(READY_S), Client.connect(url) as client:
        while True:
            try:
                await client.require_ready()
                return
            except Unreachable:
                await asyncio.sleep(0.1)


async def drive(urls: list[str], transactions: list[Transaction], seconds: float) -> tuple[int, float]:
    """Submit batches until the time is up; return how many became final, and in how many seconds."""
    batches = [transactions[at : at + BATCH] for at in range(0, len(transactions), BATCH)]
    final_count = 0
    start = time.perf_counter()

    async def submit(client: Client) -> None:
        nonlocal final_count
        while batches and time.perf_counter() - start < seconds:
            results = await client.submit(batches.pop(), wait_ms=30_000)
            final_count += sum(result.state == "final" for result in results)
            progress("committing", (time.perf_counter() - start) / seconds)

    async with Client.connect(urls[0]) as client:
        await asyncio.gather(*(submit(client) for _ in range(CLIENTS)))
    progress("committing", 1)
    return final_count, time.perf_counter() - start


def rate_on_all_cores() -> float:
    """Return raw signature checks per second on all idle cores together."""
    cores = multiprocessing.cpu_count()
    with multiprocessing.Pool(cores) as pool:
        return sum(pool.map(rate_of_signature_checks, [5_000] * cores))


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="How long to submit.")
@click.option("--transactions", default=40_000, show_default=True, help="How many to sign in advance.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(seconds: float, transactions: int, as_json: bool) -> None:
    """Measure sustained commits on four validator processes with TLS, LevelDB and synced vote logs."""
    del as_json
    checks = rate_on_all_cores()
    with tempfile.TemporaryDirectory(prefix="luohu-bench-") as directory:
        network = new_network(
            Path(directory) / "network",
            development=True,
            passphrase=None,
            base_port=None,
            random=random.SystemRandom().randbytes,
            now_ms=time.time_ns() // 1_000_000,
            scenarios=load_scenarios(scenarios_directory()),
        )
        homes = [network.homes[member] for member in VALIDATORS]
        urls = [f"http://{home.require_node().api}" for home in homes]
        processes = [start_node(home.path, passphrase_file=None) for home in homes]
        try:
            for url in urls:
                asyncio.run(wait_until_ready(url))
            signed = sign_transactions(network, transactions)
            final_count, elapsed = asyncio.run(drive(urls, signed, seconds))
        finally:
            for process, home in zip(processes, homes, strict=True):
                stop_node(process.pid, home.path)
                process.wait()
    Report(
        name="commit",
        figure=final_count / elapsed,
        unit="transactions final per second",
        limit=checks / len(VALIDATORS),
        limit_is="raw signature checks per second on all idle cores / 4 validators",
        details={
            "final": final_count,
            "seconds": round(elapsed, 2),
            "batch": BATCH,
            "clients": CLIENTS,
            "signature_checks_per_second": round(checks),
        },
    ).print()


if __name__ == "__main__":
    main()
