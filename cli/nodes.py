"""Nodes as commands see them: making one from a home, and asking one over its API."""

import gc
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from cli import times
from cli.exits import wrong_usage
from cli.times import show_time
from ledger.encoding.records import Json
from ledger.trust import TrustedRoot
from node.client.client import Client, NodeCondition, NodeStatus
from node.client.ledgerclient import LedgerClient
from node.client.nodes import Nodes
from node.errors import Unreachable
from node.logform import log_to

_URL: Final = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node's status, and what it waits for where it is not ready."""

    status: NodeStatus
    waits_for: str | None


def configure_log() -> None:
    """Send the node's log to standard error, one event a line."""
    log_to(sys.stderr)


def spare_collections() -> None:
    """Leave what a started node is made of out of garbage collections from here on: nearly all of it stays.

    Going through it all takes 50 ms, which no message of consensus passes, and nodes that do the same work do it at
    the same time.
    """
    gc.collect()
    gc.freeze()


def connect(url: str) -> AbstractAsyncContextManager[Client]:
    """Return a client for a node's URL. Raises CommandError with exit code 2 where it is no URL."""
    if not _URL.fullmatch(url):
        raise wrong_usage(
            "--url",
            expected="the URL of a node's API, like http://127.0.0.1:7201",
            found=ascii(url)[:80],
            cure="See `luohu network status DIR`, or ask the node's operator.",
        )
    return Client.connect(url)


@asynccontextmanager
async def connect_all(urls: Sequence[str]) -> AsyncIterator[Nodes]:
    """Return clients for several nodes, of which the first that answers serves. Raises CommandError as `connect`."""
    async with AsyncExitStack() as stack:
        yield Nodes([await stack.enter_async_context(connect(url)) for url in urls])


@asynccontextmanager
async def connect_ledger(urls: Sequence[str], root: TrustedRoot | None) -> AsyncIterator[LedgerClient]:
    """Return the ledger by several nodes, proven under a root where there is one. Raises CommandError as `connect`."""
    async with connect_all(tuple(dict.fromkeys(urls))) as nodes:
        yield LedgerClient(nodes, root, times.now_ms)


async def ask_status(url: str) -> NodeReport:
    """Return a node's status and readiness. Raises Unreachable or BadAnswer where it does not answer."""
    async with connect(url) as client:
        status = await client.status()
        if status.condition is not None:
            # One answer: what is shown and whether it is ready cannot disagree.
            waits_for = status.condition.waits_for
            return NodeReport(status, None if waits_for is None else f"waits for {waits_for}")
        try:
            await client.require_ready()
        except Unreachable as error:
            if error.code != "not-ready":
                raise
            return NodeReport(status, error.found)
        return NodeReport(status, None)


def report_json(url: str, report: NodeReport) -> dict[str, Json]:
    """Return the JSON form of a node's report."""
    status = report.status
    return {
        "url": url,
        "is_ready": report.waits_for is None,
        "waits_for": report.waits_for,
        "version": status.version,
        "member": status.member,
        "kind": status.kind,
        "epoch": status.epoch,
        "chain_id": status.chain_id,
        "height": status.height,
        "block_hash": status.block_hash,
        "state_root": status.state_root,
        "time_ms": status.time_ms,
        "is_voting": status.is_voting,
        "lack": status.lack,
        "peers_connected": [*status.peers_connected],
        "condition": None if status.condition is None else _condition_json(status.condition),
    }


def _condition_json(condition: NodeCondition) -> Json:
    return {
        "state": condition.state,
        "troubles": [
            {"code": each.code, "found": each.found, "cure": each.cure, "since_ms": each.since_ms}
            for each in condition.troubles
        ],
        "validators": [*condition.validators],
        "quorum": condition.quorum,
        "connected": [*condition.connected],
        "last_final_ms": condition.last_final_ms,
        "known_height": condition.known_height,
        "clock_offsets": [
            {"member": member, "offset_ms": offset_ms} for member, offset_ms in condition.clock_offsets_ms
        ],
        "disk_free_size": condition.disk_free_size,
    }


def condition_rows(condition: NodeCondition) -> list[tuple[str, str]]:
    """Return how a node is, for people."""
    missing = [each for each in condition.validators if each not in condition.connected]
    apart = f"; not connected: {', '.join(missing)}" if missing else ""
    final_ms = condition.last_final_ms
    rows = [
        ("condition", condition.state),
        (
            "quorum",
            f"connected {len(condition.connected)} of {len(condition.validators)} validators, "
            f"needs {condition.quorum}{apart}",
        ),
        (
            "final",
            "no block since it started" if final_ms is None else f"last block at {show_time(final_ms)}",
        ),
        ("peers say", f"block {condition.known_height} is final"),
    ]
    if condition.clock_offsets_ms:
        told = (f"{member} {offset_ms / 1000:+.1f} s" for member, offset_ms in condition.clock_offsets_ms)
        rows.append(("clocks", ", ".join(told)))
    if condition.disk_free_size is not None:
        rows.append(("disk", f"{condition.disk_free_size / 2**20:,.0f} MiB free"))
    rows += (
        ("trouble", f"{each.code} since {show_time(each.since_ms)}: {each.found}. {each.cure}")
        for each in condition.troubles
    )
    return rows
