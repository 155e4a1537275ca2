"""What a flood costs: finality as an honest client elsewhere sees it, and the memory of the flooded node.

Rule 1: the honest client is another member at another node; what it measures is a submission until it is final.
Rule 2: a flood runs in a process of its own, so that its work is not the client's.
Rule 3: the insider is a registered member whose node is an observer, so that its silence costs no view.
"""

import asyncio
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction, TransactionBody
from node.api.service import FINAL
from node.client.client import Client
from node.errors import ClientError
from tests.campaigns.abuse.floods import Target
from tests.campaigns.chaos.founding import SCHEMA, Consortium, found, member_key
from tests.campaigns.chaos.nodes import Nodes

FLOODED, HONEST, INSIDER = "member-1", "member-2", "member-9"
PAUSE_S = 0.05
WARM_UP_S = 1.0
WAIT_MS = 10_000
SPARE_S = 20.0
SETTLE_S = 60.0


@dataclass(slots=True)
class Cost:
    """What one flood cost."""

    kind: str
    latencies_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rss_max_mib: float = 0.0
    ended: list[str] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        """The middle finality."""
        return statistics.median(self.latencies_s) if self.latencies_s else float("inf")

    def percentile_s(self, percent: int) -> float:
        """Return the finality that this share of submissions did not exceed."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else float("inf")

    @property
    def described(self) -> str:
        """The finality, and the most memory that the flooded node held."""
        return (
            f"p50={self.median_s:.3f}s p99={self.percentile_s(99):.3f}s "
            f"max={max(self.latencies_s, default=float('inf')):.3f}s rss={self.rss_max_mib:.0f}MiB"
        )

    def __str__(self) -> str:
        return (
            f"{self.kind}: n={len(self.latencies_s)} {self.described} failures={len(self.failures)} "
            f"ended={','.join(self.ended) or 'none'}"
        )


class Bench:
    """Four nodes, and one honest client. Use as an asynchronous context."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._consortium: Consortium | None = None
        self._numbers = random.SystemRandom().randrange(10**12)

    async def __aenter__(self) -> "Bench":
        self._consortium = found(self._directory / "network", 4, random.Random(0), observer=INSIDER)
        self.nodes = Nodes(self._consortium)
        validators = [member for member in self._consortium.members if member != INSIDER]
        for member in validators:
            self.nodes.start(member)
        for member in validators:
            await self.nodes.wait_for(member, 1, voting=True)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.nodes.kill_all()
        assert self._consortium is not None, "entered"
        await self._consortium.links.close()

    async def settle(self) -> None:
        """Return once no node has anything left of an earlier flood."""
        assert self._consortium is not None, "entered"
        for member in self._consortium.members:
            if member == INSIDER:
                continue
            async with asyncio.timeout(SETTLE_S):
                # A node that a flood kept busy may not answer yet.
                while (seen := await self.nodes.look(member)) is None or seen.waiting_count:
                    await asyncio.sleep(PAUSE_S)

    async def cost_of(self, kind: str | None, seconds: float) -> Cost:
        """Return what a flood of this kind costs while it lasts; None is none at all."""
        cost = Cost(kind or "none")
        flood = None if kind is None else await self._flood(kind, seconds)
        try:
            await asyncio.sleep(WARM_UP_S)
            await self._measure(cost, seconds - WARM_UP_S)
        finally:
            if flood is not None and flood.returncode is None:
                flood.kill()
                await flood.wait()
        cost.ended = self.nodes.ended()
        return cost

    async def _flood(self, kind: str, seconds: float) -> asyncio.subprocess.Process:
        assert self._consortium is not None, "entered"
        node = self._consortium.homes[FLOODED].require_node()
        chain_id = self._consortium.genesis.content.chain_id.hex()
        target = Target(chain_id, FLOODED, node.api.port, node.listen.port, INSIDER)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.campaigns.abuse.floods",
            kind,
            target.to_json(),
            f"{seconds + SPARE_S}",
        )

    async def _measure(self, cost: Cost, seconds: float) -> None:
        assert self._consortium is not None, "entered"
        until = time.monotonic() + seconds
        async with Client.connect(self._consortium.url(HONEST)) as client:
            while time.monotonic() < until:
                transaction = self._transaction()
                began = time.monotonic()
                try:
                    (result,) = await client.submit([transaction], wait_ms=WAIT_MS)
                except ClientError as error:
                    cost.failures.append(str(error))
                    continue
                if result.state != FINAL:
                    cost.failures.append(result.state)
                cost.latencies_s.append(time.monotonic() - began)
                cost.rss_max_mib = max(cost.rss_max_mib, self._rss_mib())
                await asyncio.sleep(PAUSE_S)

    def _transaction(self) -> Transaction:
        assert self._consortium is not None, "entered"
        self._numbers += 1
        body = TransactionBody(
            self._consortium.genesis.content.chain_id,
            HONEST,
            time.time_ns() // 1_000_000 + 60_000,
            (AnchorBatch(self._numbers.to_bytes(32, "big"), 1, SCHEMA, None),),
        )
        return Transaction.sign(body, member_key(HONEST))

    def _rss_mib(self) -> float:
        try:
            lines = Path(f"/proc/{self.nodes.pid(FLOODED)}/status").read_text().splitlines()
        except OSError:
            return 0.0
        found = [line for line in lines if line.startswith("VmRSS:")]
        return int(found[0].split()[1]) / 1024 if found else 0.0
