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
from ledger.encoding.records import Json
from ledger.trust import TrustedRoot
from node.client.client import Client, NodeStatus
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
        waits_for = None
        try:
            await client.require_ready()
        except Unreachable as error:
            if error.code != "not-ready":
                raise
            waits_for = error.found
        return NodeReport(await client.status(), waits_for)


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
        "peers_connected": [*status.peers_connected],
    }
