"""How commit rate and finality change with the number of validators.

    python -m bench.validators --json

One machine has not that many cores, so the network's time is simulated and each validator's processor time measured
(`bench.simulated`): the figures are of validators with one core each, without TLS and HTTP. The limit is raw
signature checks on one core, since each validator checks every signature.
"""

import random
import time
from pathlib import Path
from typing import Final

import click

from bench.load import rate_of_signature_checks
from bench.report import Report, percentile, progress
from bench.simulated import Simulated, anchors
from node.files.folders import passing_folder

COUNTS: Final = (4, 7, 10, 13)
ROUND_TRIP_MS: Final = 10.0
LONE_COUNT: Final = 12
LIMIT_MS: Final = 600_000.0
PIECE: Final = 32


def measure(count: int, *, transactions_count: int, lone_count: int) -> dict[str, float]:
    """Return the commit rate and the finality of so many validators."""
    source = random.Random(f"{count} validators")
    members = tuple(f"member-{index:02}" for index in range(count))
    with passing_folder(None, prefix="luohu-bench-") as directory:
        world = Simulated(Path(directory), members, ROUND_TRIP_MS)
        world.start()
        try:
            first = world.nodes[members[0]]
            world.run(lambda: first.store.tip().header.height > 0, LIMIT_MS)
            lone = sorted(_lone(world, members[index % count], source) for index in range(lone_count))
            rate, cpu_ms = _loaded(world, members, transactions_count, source)
        finally:
            world.close()
    return {
        "commits_per_second": round(rate),
        "lone_ms_p50": round(percentile(lone, 50), 1),
        "cpu_ms_per_transaction_and_validator": round(cpu_ms / transactions_count / count, 3),
    }


def _lone(world: Simulated, member: str, source: random.Random) -> float:
    """Return how long a lone transaction takes to be final where it was submitted."""
    node = world.nodes[member]
    (transaction,) = anchors(world, member, 1, source)
    began_ms = world.now_ms
    world.at(began_ms, node, lambda: node.submit([transaction]))
    world.run(lambda: transaction.id in node.final, LIMIT_MS)
    return world.now_ms - began_ms


def _loaded(
    world: Simulated, members: tuple[str, ...], count: int, source: random.Random
) -> tuple[float, float]:
    """Submit all at once, to all nodes; return final ones per second, and processor time of all nodes."""
    share = count // len(members)
    before = sum(node.cpu_ms for node in world.nodes.values())
    began_ms = world.now_ms
    for member in members:
        node = world.nodes[member]
        transactions = anchors(world, member, share, source)
        for at in range(0, share, PIECE):
            some = transactions[at : at + PIECE]
            world.at(began_ms, node, lambda node=node, some=some: node.submit(some))  # type: ignore[misc]
    already = {member: len(node.final) for member, node in world.nodes.items()}
    last = share * len(members)
    world.run(
        lambda: all(len(node.final) - already[member] >= last for member, node in world.nodes.items()),
        LIMIT_MS,
    )
    seconds = (world.now_ms - began_ms) / 1_000
    return last / seconds, sum(node.cpu_ms for node in world.nodes.values()) - before


@click.command()
@click.option("--transactions", default=6_000, show_default=True, help="Transactions at each number.")
@click.option("--quick", is_flag=True, help="A smoke run: its figure says nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the only form).")
def main(transactions: int, quick: bool, as_json: bool) -> None:
    """Measure networks of 4, 7, 10 and 13 validators."""
    del as_json
    counts: tuple[int, ...] = COUNTS
    lone_count = LONE_COUNT
    if quick:
        counts, transactions, lone_count = (4,), 80, 1
    found: dict[str, object] = {}
    rates: list[float] = []
    for index, count in enumerate(counts):
        progress(f"{count} validators", index / len(counts))
        measured = measure(count, transactions_count=transactions, lone_count=lone_count)
        found[f"{count}_validators"] = measured
        rates.append(measured["commits_per_second"])
    progress("validators", 1)
    Report(
        name="validators",
        figure=rates[0],
        unit=f"transactions final per second with {counts[0]} validators of one core each",
        limit=rate_of_signature_checks(200 if quick else 5_000, time.process_time),
        limit_is="raw signature checks per second of processor time on one core",
        details={"round_trip_ms": ROUND_TRIP_MS, **found},
    ).print()


if __name__ == "__main__":
    main()
