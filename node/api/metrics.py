"""Metrics for Prometheus: where the node stands, what it answered, and what its process takes (docs/operators.md).

Decision 17 says why a library writes them.

Rule 1: labels come from closed sets (routes of the route table, statuses and codes of our own), so that no
client can make the series grow.
Rule 2: all that says where the node stands is read from one status.
"""

import platform
from collections.abc import Iterable
from typing import Final

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from node.api.bodies import BODIES
from node.api.events import SUBSCRIBERS, Events
from node.api.places import CONNECTIONS, REQUESTS, UNREAD
from node.api.route import Route
from node.api.service import NodeService
from node.api.turns import Turns
from node.condition import CODES, Condition

NO_ROUTE: Final = "none"
POOLS: Final = (CONNECTIONS, REQUESTS, UNREAD, BODIES, SUBSCRIBERS)
REQUEST_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0, 30.0)


class Metrics:
    """Counts requests, and shows what is in the node's registry."""

    def __init__(self, node: NodeService, events: Events) -> None:
        self._turns = Turns()
        self._registry = node.registry
        self._requests = Counter(
            "luohu_requests_total",
            "Requests answered.",
            ("route", "status", "code"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "luohu_request_seconds",
            "Answering a request, with the time that its client let it wait.",
            ("route",),
            buckets=REQUEST_BUCKETS_S,
            registry=self._registry,
        )
        self._displaced = Counter(
            "luohu_displaced_total",
            "Clients that lost their place to another, because they were slow or for longest there.",
            ("pool",),
            registry=self._registry,
        )
        for pool in POOLS:
            self._displaced.labels(pool)
        self._registry.register(_Standing(node, events))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def count(self, route: Route | None, status: int, code: str, seconds: float) -> None:
        """Count an answered request; `code` is that of its refusal, or empty.

        A stream lasts as long as its subscriber likes: it is counted, and not timed.
        """
        name = NO_ROUTE if route is None else route.name
        self._requests.labels(name, f"{status}", code).inc()
        if route is None or not route.is_stream:
            self._seconds.labels(name).observe(seconds)

    def displaced(self, pool: str) -> None:
        """Count a client that lost its place in one of the POOLS."""
        self._displaced.labels(pool).inc()

    async def show(self, _request: web.Request) -> web.StreamResponse:
        """Answer with all metrics."""
        async with self._turns.turn():
            response = web.Response(body=generate_latest(self._registry))
        response.headers["Content-Type"] = CONTENT_TYPE_PLAIN_0_0_4
        return response


class _Standing(Collector):
    """Where the node stands, at the moment of asking."""

    def __init__(self, node: NodeService, events: Events) -> None:
        self._node = node
        self._events = events

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of one status."""
        status = self._node.status()
        condition = status.condition
        seen = condition.observations
        offset_ms = max(seen.clock_offsets_ms.values(), key=abs, default=0)
        gauges = (
            ("luohu_height", "Height of the newest final block.", status.height),
            ("luohu_epoch", "Epoch of the validator set.", status.epoch),
            ("luohu_view", "View that the protocol is in.", status.view),
            ("luohu_finalized_view", "View of the newest final block.", status.finalized_view),
            ("luohu_peers_connected", "Peers connected now.", len(status.peers_connected)),
            ("luohu_mempool_transactions", "Transactions that wait for a block.", status.mempool_count),
            ("luohu_mempool_bytes", "Bytes of transactions that wait.", status.mempool_size),
            ("luohu_voting", "Whether this node votes.", int(status.is_voting)),
            ("luohu_ready", "Whether this node can serve.", int(condition.waits_for is None)),
            ("luohu_event_subscribers", "Subscribers to events.", self._events.subscribers_count),
            (
                "luohu_validators_connected",
                "Validators connected now, this node with them.",
                len(seen.connected),
            ),
            ("luohu_quorum_validators", "Validators that a quorum needs.", seen.quorum),
            (
                "luohu_finality_age_seconds",
                "Since a block became final here last, or since the start.",
                seen.final_age_ms / 1000,
            ),
            (
                "luohu_known_height",
                "Greatest height that peers say is final.",
                max(seen.known_height, status.height),
            ),
            ("luohu_clock_offset_seconds", "Greatest distance of a validator's clock.", offset_ms / 1000),
            ("luohu_paths_swallowing", "Peers to whom large packets do not pass.", len(seen.swallowing)),
        )
        build = {"version": status.version, "python": platform.python_version()}
        yield InfoMetricFamily("luohu_build", "The release that this node runs.", build)
        for name, meaning, value in gauges:
            yield GaugeMetricFamily(name, meaning, value)
        if seen.disk_free_size is not None:
            meaning = "Bytes that the node may still write where its data lies."
            yield GaugeMetricFamily("luohu_disk_free_bytes", meaning, seen.disk_free_size)
        yield _troubles(condition)
        meaning = "Signs that another process has this validator's key."
        yield CounterMetricFamily("luohu_key_misused_total", meaning, seen.key_misused_count)
        meaning = "Misbehaviour of validators that was seen."
        yield CounterMetricFamily("luohu_misbehaviour_total", meaning, seen.misbehaviour_count)


def _troubles(condition: Condition) -> Metric:
    family = GaugeMetricFamily("luohu_trouble", "Whether this node has this trouble now.", labels=("code",))
    for code in CODES:
        family.add_metric((code,), int(condition.find(code) is not None))
    return family
