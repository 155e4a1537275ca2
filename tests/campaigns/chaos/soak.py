"""One run of chaos: nodes, load and faults for a time, and then the judge.

Rule 1: at most f nodes are down, damaged, cut off or wrong at once, except in outages.
Rule 2: after every fault the network makes blocks and every node is whole, votes, has caught up and is connected with
all others, before the next.
Rule 3: after an outage of any length, finality returns within RETURN_S of a quorum being there. What the machine
withheld meanwhile (tests/campaigns/chaos/lag.py) is added, and nothing else. A short run may leave this to long ones.
Rule 4: everything that was done is in `schedule.jsonl`, line by line, as it is done.
Rule 5: no node's log holds a complaint of the interpreter: a traceback, a warning, an error that nobody took.
"""

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ledger.rules.blocks import Block
from node.client.client import Client
from tests.campaigns.chaos.checker import Judgement, judge
from tests.campaigns.chaos.disks import Disks
from tests.campaigns.chaos.faults import Fault, Outage, World
from tests.campaigns.chaos.founding import Consortium, found
from tests.campaigns.chaos.history import History
from tests.campaigns.chaos.kinds import ON_ONE, OUTAGES, WEATHER
from tests.campaigns.chaos.lag import Lag
from tests.campaigns.chaos.load import Load
from tests.campaigns.chaos.nodes import LOG_SHOWN_MAX, Nodes, Stuck

RETURN_S = 10.0
FINALITY_S = 60.0
CONNECTED_S = 30.0
COMPLAINT = re.compile(
    r"^Traceback|^Error in|^Exception ignored|ResourceWarning|never retrieved|never awaited", re.M
)
COMPLAINTS_SHOWN_MAX = 3
OUTAGE_CHANCE = 0.12
WEATHER_CHANCE = 0.08
SCHEDULE_FILE = "schedule.jsonl"

Act = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Slowest:
    """The longest of some waits, and the faults that it followed."""

    seconds: float = 0.0
    after: str = "none"
    """`kind:where@seconds` of each, from the run's beginning as in the schedule, joined by `+`."""

    def note(self, seconds: float, faults: list[str]) -> None:
        """Take a wait into account."""
        if seconds > self.seconds:
            self.seconds, self.after = seconds, "+".join(faults)


@dataclass(slots=True)
class Figures:
    """What a run measured."""

    faults: Counter[str] = field(default_factory=Counter)
    slowest_return: Slowest = field(default_factory=Slowest)
    longest_outage_s: float = 0.0
    return_allowance_s: float = 0.0
    """The most that the machine withheld while finality returned."""
    slowest_after_fault: Slowest = field(default_factory=Slowest)
    slowest_rejoin: Slowest = field(default_factory=Slowest)
    longest_silence_s: float = 0.0
    misbehaviour_count: int = 0
    rss_max_mib: int = 0
    failures: list[str] = field(default_factory=list)
    judgement: Judgement | None = None

    @property
    def faults_count(self) -> int:
        """How many faults were injected; a fault on each of two nodes counts twice."""
        return sum(self.faults.values())

    @property
    def violations(self) -> list[str]:
        """Everything that must not be."""
        return [*self.failures, *(self.judgement.violations if self.judgement else ["nothing was judged"])]


class Soak:
    """A run. `await run(...)`, once."""

    def __init__(
        self,
        directory: Path,
        *,
        seed: int,
        members_count: int,
        mounted: bool,
        say: Callable[[str], None],
        pace: float = 1.0,
        is_return_bounded: bool = True,
    ) -> None:
        self._is_return_bounded = is_return_bounded
        self._lag = Lag()
        self._directory = directory
        self._members_count = members_count
        self._is_mounted = mounted
        self._pace = pace
        self._say = say
        self._source = random.Random(seed)
        self._load_source = random.Random(f"load {seed}")
        self._began_s = time.monotonic()
        self.history = History()
        self.figures = Figures()
        self._is_outage = False
        self._recent: list[str] = []

    async def run(self, is_over: Callable[[float, int], bool]) -> Figures:
        """Run faults until `is_over` (seconds, faults) says so, and judge. Processes are gone afterwards."""
        consortium = found(self._directory / "network", self._members_count, random.Random(0))
        nodes = Nodes(consortium)
        disks = Disks(nodes, mounted=self._is_mounted)
        world = World(consortium, nodes, disks, self._pace, self.history.rotations)
        load = Load(consortium, self.history, self._load_source, up=lambda: nodes.running())
        try:
            await self._begin(world, load)
            beside = [asyncio.ensure_future(each) for each in (self._watch(load), self._lag.measure())]
            try:
                await self._inject(world, load, is_over)
            finally:
                for task in beside:
                    task.cancel()
            await load.stop()
            await self._judge(world)
        except Stuck as stuck:
            self.figures.failures.append(str(stuck))
            with suppress(TimeoutError):
                await asyncio.wait_for(load.stop(), FINALITY_S)
            await self._judge_what_answers(world)
        finally:
            self.figures.rss_max_mib = nodes.rss_max_kib // 1024
            nodes.kill_all()
            self.figures.rss_max_mib = max(self.figures.rss_max_mib, nodes.rss_max_kib // 1024)
            await consortium.links.close()
            for member in world.members:
                disks.release(member)
        self.figures.failures += find_complaints(consortium)
        self.figures.misbehaviour_count = self._count_in_logs(consortium, "consensus.misbehaviour")
        return self.figures

    async def _begin(self, world: World, load: Load) -> None:
        for member in world.members:
            world.disks.prepare(member)
            world.nodes.start(member)
        for member in world.members:
            await world.nodes.wait_for(member, 1, voting=True)
        load.start()

    # -- faults -----------------------------------------------------------------------------------------

    async def _inject(self, world: World, load: Load, is_over: Callable[[float, int], bool]) -> None:
        # Every kind once, so that a short run has them all; then as chance has it.
        acts = self._each_once(world)
        while not is_over(time.monotonic() - self._began_s, self.figures.faults_count):
            self._recent.clear()
            await (acts.pop() if acts else self._random_act(world))()
            load.check()
            await self._recover(world)

    def _each_once(self, world: World) -> list[Act]:
        acts: list[Act] = [partial(self._faults_on_some, world, [kind]) for kind, _ in ON_ONE]
        acts += [partial(self._outage, world, act) for act in OUTAGES]
        acts += [partial(self._weather, world, act) for act in WEATHER]
        self._source.shuffle(acts)
        return acts

    def _random_act(self, world: World) -> Act:
        chance = self._source.random()
        if chance < OUTAGE_CHANCE:
            return partial(self._outage, world, self._source.choice(OUTAGES))
        if chance < OUTAGE_CHANCE + WEATHER_CHANCE:
            return partial(self._weather, world, self._source.choice(WEATHER))
        count = self._source.randint(1, world.consortium.faulty_max)
        kinds = [kind for kind, _ in ON_ONE]
        weights = [weight for _, weight in ON_ONE]
        return partial(self._faults_on_some, world, self._source.choices(kinds, weights, k=count))

    async def _weather(self, world: World, act: Outage) -> None:
        self._note(act.__name__, "all", await act(world, self._source))

    async def _outage(self, world: World, act: Outage) -> None:
        self._is_outage = True
        began = time.monotonic()
        self._note(act.__name__, "many", await act(world, self._source))
        self.figures.longest_outage_s = max(self.figures.longest_outage_s, time.monotonic() - began)
        late_s = self._lag.late_s
        seconds = await self._finality(world, RETURN_S if self._is_return_bounded else FINALITY_S)
        withheld_s = self._lag.late_s - late_s
        self.figures.return_allowance_s = max(self.figures.return_allowance_s, withheld_s)
        self._is_outage = False
        self.figures.slowest_return.note(seconds, self._recent)

    async def _faults_on_some(self, world: World, kinds: list[Fault]) -> None:
        victims = self._source.sample(world.members, len(kinds))
        # Each has a source of its own: what one does must not depend on how fast the other is.
        sources = [random.Random(self._source.getrandbits(64)) for _ in victims]
        await asyncio.gather(
            *(
                self._fault(world, kind, victim, source)
                for kind, victim, source in zip(kinds, victims, sources, strict=True)
            )
        )

    async def _fault(self, world: World, kind: Fault, member: str, source: random.Random) -> None:
        self._note(kind.__name__, member, await kind(world, member, source))

    async def _finality(self, world: World, bound_s: float) -> float:
        """Return the seconds until something new is final. Raises Stuck past the bound."""
        began, late_s, height = time.monotonic(), self._lag.late_s, await world.nodes.highest()
        while time.monotonic() - began < bound_s + self._lag.late_s - late_s:
            if await world.nodes.highest() > height:
                return time.monotonic() - began
            await asyncio.sleep(0.05)
        raise Stuck(f"no block became final within {bound_s:.0f} s above height {height}")

    async def _recover(self, world: World) -> None:
        """Wait until finality goes on and every node is whole, votes and has caught up. Raises Stuck."""
        began = time.monotonic()
        seconds = await self._finality(world, FINALITY_S)
        self.figures.slowest_after_fault.note(seconds, self._recent)
        height = await world.nodes.highest()
        for member in world.members:
            await world.nodes.wait_for(member, height, voting=True)
        connected_by = time.monotonic() + CONNECTED_S
        for member in world.members:
            await world.nodes.wait_for(member, height, voting=True, peers_count=len(world.members) - 1)
        if time.monotonic() > connected_by:
            raise Stuck(f"not all nodes were connected with all others within {CONNECTED_S:.0f} s")
        self.figures.slowest_rejoin.note(time.monotonic() - began, self._recent)
        if world.nodes.ended():
            raise Stuck(f"{world.nodes.ended()} ended by themselves")

    async def _watch(self, load: Load) -> None:
        while True:
            if self._is_outage:
                load.final_at_s = time.monotonic()
            silent_s = time.monotonic() - load.final_at_s
            self.figures.longest_silence_s = max(self.figures.longest_silence_s, silent_s)
            await asyncio.sleep(0.05)

    def _note(self, kind: str, where: str, detail: str) -> None:
        self.figures.faults[kind] += 1
        at_s = round(time.monotonic() - self._began_s, 3)
        self._recent.append(f"{kind}:{where}@{at_s:.0f}")
        line = json.dumps({"at_s": at_s, "fault": kind, "on": where, "detail": detail})
        with (self._directory / SCHEDULE_FILE).open("a") as schedule:
            schedule.write(line + "\n")
        self._say(line)

    # -- judging ----------------------------------------------------------------------------------------

    async def _judge(self, world: World) -> None:
        height = await world.nodes.highest()
        for member in world.members:
            await world.nodes.wait_for(member, height)
            world.nodes.note_memory(world.nodes.pid(member))
        logs = {member: await read_log(world.consortium, member, height) for member in world.members}
        self.figures.judgement = judge(self.history, logs)
        for member in world.members:
            await world.nodes.stop(member)
            await self._audit(world, member)

    async def _judge_what_answers(self, world: World) -> None:
        """After a failure: compare what the nodes that are furthest have, for whoever reads the report."""
        height = await world.nodes.highest()
        logs = {}
        for member in world.nodes.running():
            seen = await world.nodes.look(member)
            if seen is not None and seen.height >= height > 0:
                logs[member] = await read_log(world.consortium, member, height)
        if logs:
            self.figures.judgement = judge(self.history, logs)

    async def _audit(self, world: World, member: str) -> None:
        """Have the audit command replay what a node has stored."""
        home = world.nodes.home(member)
        command = ["-m", "cli.main", "audit", "--home", str(home), "--genesis", str(home / "genesis.json")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            shown = output.decode(errors="replace")[-LOG_SHOWN_MAX:]
            self.figures.failures.append(f"the audit of {member} finds: {shown}")

    def _count_in_logs(self, consortium: Consortium, event: str) -> int:
        logs = (home.path / "node.log" for home in consortium.homes.values())
        return sum(log.read_text(errors="replace").count(event) for log in logs if log.exists())


def find_complaints(consortium: Consortium) -> list[str]:
    """Return what the interpreter complained of in the nodes' logs, some of it for each node."""
    complaints: list[str] = []
    for member, home in consortium.homes.items():
        path = home.path / "node.log"
        log = path.read_text(errors="replace") if path.exists() else ""
        found = list(COMPLAINT.finditer(log))
        complaints += [
            f"{member} complains ({len(found)} times): {log[each.start() : each.start() + LOG_SHOWN_MAX]}"
            for each in found[:COMPLAINTS_SHOWN_MAX]
        ]
    return complaints


async def read_log(consortium: Consortium, member: str, height_max: int) -> list[Block]:
    """Return a node's final blocks from height 1 on."""
    blocks: list[Block] = []
    async with Client.connect(consortium.url(member)) as client:
        while len(blocks) < height_max:
            some = await client.blocks(len(blocks) + 1)
            if not some:
                raise Stuck(f"{member} has no block {len(blocks) + 1} though it is at {height_max}")
            blocks += [block for block, _ in some]
    return blocks[:height_max]
