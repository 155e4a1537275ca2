"""What a flood costs: finality as an honest client elsewhere sees it, and the memory of the flooded node.

Rule 1: the honest client is another member at another node; what it measures is a submission until it is final.
Rule 2: a flood runs in a process of its own, so that its work is not the client's.
Rule 3: the insider is a registered member whose node is an observer, so that its silence costs no view.
Rule 4: meanwhile the flooded node and the recipient's service beside it are asked what must always be answered, each
time on a new connection; what counts is how many of these calls were.
"""

import asyncio
import contextlib
import json
import random
import statistics
import sys
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction, TransactionBody
from ledger.trust import trusted_root_to_json
from node.api.service import FINAL
from node.client.client import Client
from node.errors import ClientError
from tests.campaigns.abuse.floods import Target
from tests.campaigns.chaos.founding import SCHEMA, Consortium, found, member_key
from tests.campaigns.chaos.nodes import Nodes
from tests.support.clocked import luohu_at
from tests.support.consortium import LATER_MS
from tests.support.story import tell

FLOODED, HONEST, INSIDER = "member-1", "member-2", "member-9"
PAUSE_S = 0.05
CALL_S = 10.0
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
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)

    @property
    def unanswered(self) -> dict[str, str]:
        """Of each call that was not always answered, how many of how many were."""
        return {
            name: f"{self.answered[name]}/{count}"
            for name, count in self.asked.items()
            if self.answered[name] != count
        }

    @property
    def told_calls(self) -> str:
        """How many calls of each kind were answered."""
        return ",".join(f"{name}:{self.answered[name]}/{count}" for name, count in self.asked.items())

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
            f"ended={','.join(self.ended) or 'none'} calls={self.told_calls or 'none'}"
        )


class Bench:
    """Four nodes, a recipient's service, and one honest client of each. Use as an asynchronous context."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._consortium: Consortium | None = None
        self._numbers = random.SystemRandom().randrange(10**12)

    async def __aenter__(self) -> "Bench":
        # What began is ended, too, where the rest does not begin.
        async with contextlib.AsyncExitStack() as begun:
            self._consortium = found(self._directory / "network", 4, random.Random(0), observer=INSIDER)
            begun.push_async_callback(self._consortium.links.close)
            self.nodes = Nodes(self._consortium)
            begun.callback(self.nodes.kill_all)
            validators = [member for member in self._consortium.members if member != INSIDER]
            for member in validators:
                self.nodes.start(member)
            for member in validators:
                await self.nodes.wait_for(member, 1, voting=True)
            self._story = tell(self._directory / "story")
            begun.callback(self._story.world.close)
            await self._serve(begun)
            self._begun = begun.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._begun.aclose()

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
            async with asyncio.TaskGroup() as group:
                until = time.monotonic() + seconds - WARM_UP_S
                group.create_task(self._measure(cost, until))
                group.create_task(self._call(cost, until))
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
        target = Target(chain_id, FLOODED, node.api.port, node.listen.port, INSIDER, self._forms_port)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.campaigns.abuse.floods",
            kind,
            target.to_json(),
            f"{seconds + SPARE_S}",
        )

    async def _serve(self, begun: contextlib.AsyncExitStack) -> None:
        """Start the recipient's service as a bank does."""
        trust = self._directory / "trust.json"
        trust.write_text(json.dumps(trusted_root_to_json(self._story.trust)))
        process = await asyncio.create_subprocess_exec(
            # Its clock stands after the story that the form tells.
            *luohu_at(LATER_MS, ["verify", "serve", "--trust", f"{trust}", "--port", "0"]),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        begun.push_async_callback(process.wait)
        begun.callback(process.kill)
        assert process.stdout is not None, "a pipe"
        said = (await process.stdout.readline()).decode()
        self._forms_port = int(said.partition("127.0.0.1:")[2].partition("/")[0])

    async def _call(self, cost: Cost, until: float) -> None:
        """Ask everything that must be answered, one after the other."""
        assert self._consortium is not None, "entered"
        node, service = self._consortium.url(FLOODED), f"http://127.0.0.1:{self._forms_port}"
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=CALL_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            while time.monotonic() < until:
                for name, url in (
                    ("health", f"{node}/v1/health"),
                    ("metrics", f"{node}/metrics"),
                    ("status", f"{node}/v1/status"),
                    ("genesis", f"{node}/v1/genesis"),
                    ("service_health", f"{service}/v1/health"),
                ):
                    await _count(cost, name, session.get(url))
                body = {"transactions": [self._transaction().encoded.hex()], "wait_ms": 0}
                await _count(cost, "submission", session.post(f"{node}/v1/transactions", json=body))
                await _count(cost, "form", session.post(f"{service}/v1/verify", data=self._form()))
                await asyncio.sleep(PAUSE_S)

    def _form(self) -> aiohttp.FormData:
        data = aiohttp.FormData()
        story = self._story
        for name, part in (
            ("document", story.document),
            ("proof", story.proof.encode()),
            ("request", story.request.encode()),
        ):
            data.add_field(name, part, filename=name)
        data.add_field("at_ms", f"{story.now_ms}")
        return data

    async def _measure(self, cost: Cost, until: float) -> None:
        assert self._consortium is not None, "entered"
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


async def _count(cost: Cost, name: str, asked: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> None:
    cost.asked[name] += 1
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with asked as response:
            await response.read()
            cost.answered[name] += response.status == 200
