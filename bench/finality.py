"""How long a transaction takes from submit to final, at an idle network and at half the load that it bears.

    python -m bench.finality --json

Submitted to each node in turn, with 0, 10 and 40 ms of round trip between the nodes (injected in their connections).
Half the load is half of what the network bore just before, without a wire, loaded as `bench.commit` loads it.
The limit is what is promised for an idle network without a wire: 40 ms, and two round trips of the wire on top.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import click

from bench.cluster import Cluster, running_cluster
from bench.load import drive, period_ms_of, sign_transactions
from bench.report import Report, percentile, progress
from ledger.rules.transactions import Transaction
from node.client.client import Client

ROUND_TRIPS_MS: Final = (0, 10, 40)
IDLE_P50_MS: Final = 40
IDLE_P99_MS: Final = 150
CLIENTS: Final = 4
BATCH: Final = 50
COMMIT_BATCH: Final = 200


async def lone_seconds(urls: Sequence[str], transactions: Sequence[Transaction]) -> list[float]:
    """Submit one transaction after another, to each node in turn; return how long each took, in order of time."""
    taken: list[float] = []
    for index, transaction in enumerate(transactions):
        async with Client.connect(urls[index % len(urls)]) as client:
            await client.status()
            began = time.perf_counter()
            (result,) = await client.submit([transaction])
            result.require_final()
            taken.append(time.perf_counter() - began)
        await asyncio.sleep(0.02)
    return sorted(taken)


def rate_of_commit(seconds: float) -> float:
    """Return what four validators bear, loaded as `bench.commit` loads them."""
    with running_cluster() as cluster:
        signed = sign_transactions(cluster.network.genesis.content.chain_id, int(4_000 * seconds))
        return drive(cluster, signed, clients=CLIENTS, batch=COMMIT_BATCH, seconds=seconds).rate


def measure(
    cluster: Cluster, round_trip_ms: int, *, lone_count: int, rate: float, seconds: float
) -> dict[str, object]:
    """Return p50 and p99 at idle and at a load of `rate` transactions per second, beside what is promised."""
    chain_id = cluster.network.genesis.content.chain_id
    idle = asyncio.run(lone_seconds(cluster.urls, sign_transactions(chain_id, lone_count)))
    period_ms = period_ms_of(rate, nodes_count=len(cluster.urls), clients=CLIENTS, batch=BATCH)
    count = max(BATCH * len(cluster.urls), int(rate * seconds * 1.1))
    half = drive(
        cluster,
        sign_transactions(chain_id, count),
        clients=CLIENTS,
        batch=BATCH,
        seconds=seconds,
        period_ms=period_ms,
    )
    return {
        "idle_ms_p50": round(1_000 * percentile(idle, 50), 1),
        "idle_ms_p50_promised": IDLE_P50_MS + 2 * round_trip_ms,
        "idle_ms_p99": round(1_000 * percentile(idle, 99), 1),
        "half_load_ms_p50": round(1_000 * percentile(half.request_seconds, 50), 1),
        "half_load_ms_p99": round(1_000 * percentile(half.request_seconds, 99), 1),
        "ms_p99_promised": IDLE_P99_MS + 4 * round_trip_ms,
        "half_load_per_second": round(half.rate),
        "half_load_requests": len(half.request_seconds),
    }


@click.command()
@click.option("--lone", default=80, show_default=True, help="Lone transactions at each round trip.")
@click.option("--seconds", default=16.0, show_default=True, help="How long to load the network, each time.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(lone: int, seconds: float, quick: bool, as_json: bool) -> None:
    """Measure finality at three round trips."""
    del as_json
    round_trips_ms: tuple[int, ...] = ROUND_TRIPS_MS
    if quick:
        lone, seconds, round_trips_ms = 4, 0.1, (10,)
    progress("most", 0)
    rate = rate_of_commit(seconds)
    found: dict[str, object] = {"commit_per_second": round(rate)}
    figure = 0.0
    for index, round_trip_ms in enumerate(round_trips_ms):
        progress(f"{round_trip_ms} ms", index / len(round_trips_ms))
        with running_cluster(delay_ms=round_trip_ms / 2) as cluster:
            measured = measure(cluster, round_trip_ms, lone_count=lone, rate=rate / 2, seconds=seconds)
        found[f"round_trip_{round_trip_ms}_ms"] = measured
        if index == 0:
            figure = float(f"{measured['idle_ms_p50']}")
    progress("finality", 1)
    Report(
        name="finality",
        figure=figure,
        unit="ms from submit to final, p50 at idle and the smallest round trip",
        limit=IDLE_P50_MS + 2 * round_trips_ms[0],
        limit_is="what is promised: 40 ms and two round trips",
        details=found,
        is_lower_better=True,
    ).print()


if __name__ == "__main__":
    main()
