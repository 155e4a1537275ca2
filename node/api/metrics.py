"""Metrics in Prometheus' text format.

Rule 1: labels come from closed sets (routes of the route table, statuses and codes of our own), so that no
client can make the series grow.
"""

from collections import Counter
from typing import Final

from aiohttp import web

from node.api.events import Events
from node.api.service import NodeService

NO_ROUTE: Final = "none"
_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests, and shows where the node stands."""

    def __init__(self, node: NodeService, events: Events) -> None:
        self._node = node
        self._events = events
        self._requests: Counter[tuple[str, int, str]] = Counter()

    def count(self, route: str, status: int, code: str) -> None:
        """Count an answered request; `code` is that of its refusal, or empty."""
        self._requests[(route, status, code)] += 1

    async def show(self, _request: web.Request) -> web.StreamResponse:
        """Answer with all metrics."""
        response = web.Response(text=self.text())
        response.headers["Content-Type"] = _CONTENT_TYPE
        return response

    def text(self) -> str:
        """Return all metrics."""
        status = self._node.status()
        gauges = (
            ("luohu_height", "Height of the newest final block.", status.height),
            ("luohu_epoch", "Epoch of the validator set.", status.epoch),
            ("luohu_view", "View that the protocol is in.", status.view),
            ("luohu_finalized_view", "View of the newest final block.", status.finalized_view),
            ("luohu_peers_connected", "Peers connected now.", len(status.peers_connected)),
            ("luohu_mempool_transactions", "Transactions that wait for a block.", status.mempool_count),
            ("luohu_mempool_bytes", "Bytes of transactions that wait.", status.mempool_size),
            ("luohu_voting", "Whether this node votes.", int(status.is_voting)),
            ("luohu_ready", "Whether this node can serve.", int(self._node.is_ready() is None)),
            ("luohu_event_subscribers", "Subscribers to events.", self._events.subscribers_count),
        )
        lines: list[str] = []
        for name, meaning, value in gauges:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value}"]
        name = "luohu_requests_total"
        lines += [f"# HELP {name} Requests answered.", f"# TYPE {name} counter"]
        lines += [
            f'{name}{{route="{route}",status="{answered}",code="{code}"}} {count}'
            for (route, answered, code), count in sorted(self._requests.items())
        ]
        return "\n".join(lines) + "\n"
