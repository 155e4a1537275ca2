"""Histograms of what a node measures of itself, in its own registry (docs/operators.md, Metrics).

Rule 1: each node has a registry of its own, never the global one: tests run several nodes in one process.
Rule 2: labels come from closed sets. No peer and no client can make the series grow.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics

from node.measurements import Measurements

FINALITY_BUCKETS_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 300.0)
WORK_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""For what holds the loop while it lasts: blocks, turns of signatures, and the pauses that come of them."""
SYNC_SPAN_BUCKETS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SYNC_SNAPSHOT_BUCKETS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0)

CLIENTS: Final = "clients"
PEERS: Final = "peers"

# The library's switch is the process's. Times at which each series began would double what a scrape reads.
disable_created_metrics()  # type: ignore[no-untyped-call]


def measure_into(registry: CollectorRegistry) -> Measurements:
    """Return measurements that are counted in this registry. Call it once for each."""

    def histogram(name: str, meaning: str, buckets: tuple[float, ...] = WORK_BUCKETS_S) -> Histogram:
        return Histogram(name, meaning, buckets=buckets, registry=registry)

    signatures = Histogram(
        "luohu_signature_verification_seconds",
        "Checking one turn of transactions, nearly all of it for their signatures.",
        ("source",),
        buckets=WORK_BUCKETS_S,
        registry=registry,
    )
    return Measurements(
        finality=histogram(
            "luohu_finality_seconds",
            "From a transaction's admission at this node to its finality here.",
            FINALITY_BUCKETS_S,
        ).observe,
        block_building=histogram(
            "luohu_block_building_seconds", "Building a block and writing it down."
        ).observe,
        block_execution=histogram(
            "luohu_block_execution_seconds", "Executing a block of another leader and writing it down."
        ).observe,
        client_signatures=signatures.labels(CLIENTS).observe,
        peer_signatures=signatures.labels(PEERS).observe,
        sync_span=histogram(
            "luohu_sync_span_seconds", "Making one span of fetched blocks final.", SYNC_SPAN_BUCKETS_S
        ).observe,
        sync_snapshot=histogram(
            "luohu_sync_snapshot_seconds",
            "Catching up by a snapshot, from the question for offers to the switch.",
            SYNC_SNAPSHOT_BUCKETS_S,
        ).observe,
        loop_pause=histogram(
            "luohu_loop_pause_seconds", "How much later than it was due the event loop woke a sleeper."
        ).observe,
    )
