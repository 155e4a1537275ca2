"""The faults: what each does to one node, or to the network, and how it is taken back.

Rule 1: a fault on one node leaves that node whole when it returns: it heals by itself, or `luohu node repair`
heals it. Nothing else touches its files.
Rule 2: chance comes from the run's seed alone, so that a schedule can be repeated; time is real.
Rule 3: every damage that stopped a node is named in its log.
"""

import asyncio
import json
import random
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.campaigns.chaos.damage import KINDS, inflict
from tests.campaigns.chaos.disks import Disks
from tests.campaigns.chaos.founding import Consortium
from tests.campaigns.chaos.history import Rotated
from tests.campaigns.chaos.links import Links, lanes_between, lanes_of
from tests.campaigns.chaos.nodes import LOG_SHOWN_MAX, Nodes, Stuck
from tests.campaigns.chaos.steppedclock import set_clock

CLOCK_OFFSETS_MS = (-3_600_000, -90_000, -5_000, 5_000, 90_000, 3_600_000)
FULL_S = 30.0
LONG_OUTAGE_S = 25.0
LONG_OUTAGE_CHANCE = 1 / 12
DAMAGE_NAMED = re.compile(r"stored chain|votelog\.damaged|expected a usable vote log|votes: expected")
SERVED_ON = "served on"


@dataclass(slots=True)
class World:
    """What faults act upon."""

    consortium: Consortium
    nodes: Nodes
    disks: Disks
    pace: float = 1.0
    """How long faults last, beside the usual."""
    rotations: list[Rotated] = field(default_factory=list)
    """The certificates that were replaced on the chain, for the judge."""
    repairs_count: int = 0
    healed_alone_count: int = 0

    @property
    def links(self) -> Links:
        """The links between the nodes."""
        return self.consortium.links

    @property
    def members(self) -> tuple[str, ...]:
        """All members."""
        return self.consortium.members


Fault = Callable[[World, str, random.Random], Awaitable[str]]
Outage = Callable[[World, random.Random], Awaitable[str]]


def _duration_s(world: World, source: random.Random) -> float:
    return world.pace * source.uniform(0.2, 2.5)


async def kill(world: World, member: str, source: random.Random) -> str:
    """SIGKILL, a while of nothing, and a start."""
    seconds = _duration_s(world, source)
    world.nodes.kill(member)
    await asyncio.sleep(seconds)
    world.nodes.start(member)
    return f"down {seconds:.1f} s"


async def stop(world: World, member: str, source: random.Random) -> str:
    """SIGTERM, as an operator stops a node, and a start."""
    seconds = _duration_s(world, source)
    await world.nodes.stop(member)
    await asyncio.sleep(seconds)
    world.nodes.start(member)
    return f"down {seconds:.1f} s"


async def pause(world: World, member: str, source: random.Random) -> str:
    """SIGSTOP and SIGCONT: the process misses time and finds all of it at once."""
    seconds = _duration_s(world, source)
    world.nodes.pause(member)
    await asyncio.sleep(seconds)
    world.nodes.resume(member)
    return f"{seconds:.1f} s"


async def isolate(world: World, member: str, source: random.Random) -> str:
    """Nothing passes to or from a node; connections stay as they are."""
    return await _stall(world, lanes_of(member, world.members), source)


async def deafen(world: World, member: str, source: random.Random) -> str:
    """Nothing reaches a node; what it says arrives."""
    lanes = [lane for lane in lanes_of(member, world.members) if lane[1] == member]
    return await _stall(world, lanes, source)


async def mute(world: World, member: str, source: random.Random) -> str:
    """Nothing leaves a node; it hears everything."""
    lanes = [lane for lane in lanes_of(member, world.members) if lane[0] == member]
    return await _stall(world, lanes, source)


async def _stall(world: World, lanes: list[tuple[str, str]], source: random.Random) -> str:
    seconds = _duration_s(world, source)
    world.links.stall(lanes)
    await asyncio.sleep(seconds)
    world.links.heal(lanes)
    return f"{seconds:.1f} s"


async def cut(world: World, member: str, source: random.Random) -> str:
    """A node's connections break, and new ones are refused."""
    seconds, lanes = _duration_s(world, source), lanes_of(member, world.members)
    world.links.cut(lanes)
    await asyncio.sleep(seconds)
    world.links.heal(lanes)
    return f"{seconds:.1f} s"


async def slow(world: World, member: str, source: random.Random) -> str:
    """A node's links take long, and now and then much longer."""
    seconds, lanes = _duration_s(world, source), lanes_of(member, world.members)
    delay_ms, stall_chance = source.uniform(20, 300), source.choice((0.0, 0.05, 0.2))
    world.links.slow(lanes, delay_ms=delay_ms, stall_chance=stall_chance)
    await asyncio.sleep(seconds)
    world.links.heal(lanes)
    return f"{seconds:.1f} s, {delay_ms:.0f} ms, stalls {stall_chance}"


async def fill_disk(world: World, member: str, source: random.Random) -> str:
    """A node's disk is full: it must stop by itself, and start once there is room."""
    with world.disks.filled(member):
        await _until_ended(world, member)
        await asyncio.sleep(source.uniform(0, 1))
    world.nodes.forget(member)
    world.nodes.start(member)
    return world.disks.how


async def refuse_writes(world: World, member: str, source: random.Random) -> str:
    """A process may write no file past a size (RLIMIT_FSIZE): it must stop by itself."""
    size = source.choice((4_096, 16_384, 65_536))
    world.nodes.limit_files(member, size)
    await _until_ended(world, member)
    world.nodes.forget(member)
    world.nodes.start(member)
    return f"at {size} bytes"


async def _until_ended(world: World, member: str) -> None:
    waited_s = 0.0
    while not world.nodes.has_ended(member):
        if waited_s > FULL_S:
            raise Stuck(f"{member} goes on for {FULL_S:.0f} s though its disk takes nothing")
        waited_s += 0.05
        await asyncio.sleep(0.05)


async def damage(world: World, member: str, source: random.Random) -> str:
    """A file of a node is damaged while the node is down; the node heals, or is repaired."""
    world.nodes.kill(member)
    inflicted = None
    data = world.consortium.homes[member].data
    while inflicted is None:
        inflicted = inflict(data, *source.choice(KINDS), source)
    world.nodes.start(member)
    how = await _see_to(world, member)
    return f"{inflicted}: {how}"


async def _see_to(world: World, member: str) -> str:
    """Have a node whose files were damaged whole and running again; say how."""
    how = await _fate(world, member)
    log = world.nodes.log_since_start(member)
    named = DAMAGE_NAMED.search(log)
    if how == SERVED_ON:
        await world.nodes.stop(member)
    else:
        world.nodes.forget(member)
        if named is None:
            raise Stuck(f"{member} {how} without naming the damage: {log[-LOG_SHOWN_MAX:]}")
    findings = await _repair(world, member)
    if findings:
        world.repairs_count += 1
    elif how != SERVED_ON:
        raise Stuck(f"{member} {how}, and repair finds nothing: {log[-LOG_SHOWN_MAX:]}")
    else:
        world.healed_alone_count += 1
    world.nodes.start(member)
    in_log = f", its log: {' '.join(log[named.start() :].split())[:200]}" if named else ""
    return f"{how}{in_log}; repair: {findings or 'nothing is damaged'}"


async def _fate(world: World, member: str) -> str:
    if not await world.nodes.wait_until_answering(member):
        return "refused to start"
    await asyncio.sleep(0.5)
    return "stopped by itself" if world.nodes.has_ended(member) else SERVED_ON


async def _repair(world: World, member: str) -> str:
    """Examine and repair a stopped node's home as an operator does; return what was found. Raises Stuck."""
    command = ("-m", "cli.main", "node", "repair", "--json", "--home", str(world.nodes.home(member)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, said = await process.communicate()
    if process.returncode != 0:
        raise Stuck(f"repair of {member} fails: {(output + said).decode(errors='replace')[-LOG_SHOWN_MAX:]}")
    findings = json.loads(output)["findings"]
    world.disks.clear_evidence(member)
    return "; ".join(f"{each['part']}: {each['found']}" for each in findings)[:300]


async def step_clock(world: World, member: str, source: random.Random) -> str:
    """A node's wall clock is wrong, and is stepped while it runs."""
    first_ms, second_ms = source.sample(CLOCK_OFFSETS_MS, 2)
    await world.nodes.stop(member)
    world.nodes.start_with_clock(member, first_ms)
    if not await world.nodes.wait_until_answering(member):
        raise Stuck(f"{member} ended with a wrong clock: {world.nodes.log_since_start(member)}")
    await asyncio.sleep(_duration_s(world, source))
    set_clock(world.nodes.home(member), second_ms)
    await asyncio.sleep(_duration_s(world, source))
    set_clock(world.nodes.home(member), 0)
    await asyncio.sleep(0.3)
    await world.nodes.stop(member)
    world.nodes.start(member)
    return f"{first_ms} ms, then {second_ms} ms, then right"


def _outage_s(world: World, source: random.Random, least_s: float, most_s: float) -> float:
    """Return how long an outage lasts: some seconds, and one in twelve past every timeout that there is."""
    low_s, high_s = (
        (LONG_OUTAGE_S, 2 * LONG_OUTAGE_S) if source.random() < LONG_OUTAGE_CHANCE else (least_s, most_s)
    )
    return world.pace * source.uniform(low_s, high_s)


async def split(world: World, source: random.Random) -> str:
    """The network falls into two parts, neither of which has a quorum."""
    members = list(world.members)
    source.shuffle(members)
    some = members[: world.consortium.faulty_max + 1]
    others = [member for member in members if member not in some]
    lanes, seconds = lanes_between(some, others), _outage_s(world, source, 1, 6)
    act = source.choice((world.links.stall, world.links.cut))
    act(lanes)
    await asyncio.sleep(seconds)
    world.links.heal(lanes)
    return f"{' '.join(sorted(some))} apart {seconds:.1f} s ({act.__name__})"


async def pause_many(world: World, source: random.Random) -> str:
    """More than a third of the nodes stand still."""
    victims, seconds = _many(world, source), _outage_s(world, source, 1, 6)
    for member in victims:
        world.nodes.pause(member)
    await asyncio.sleep(seconds)
    for member in victims:
        world.nodes.resume(member)
    return f"{len(victims)} for {seconds:.1f} s"


async def kill_many(world: World, source: random.Random) -> str:
    """More than a third of the nodes die at once, perhaps all of them, and start again."""
    victims, seconds = _many(world, source), _outage_s(world, source, 0.2, 4)
    for member in victims:
        world.nodes.kill(member)
    await asyncio.sleep(seconds)
    for member in victims:
        world.nodes.start(member)
    # From here on a quorum is there. Those that take longer are waited for after finality.
    await world.nodes.wait_until_answering_count(len(world.members) - world.consortium.faulty_max)
    return f"{len(victims)} for {seconds:.1f} s"


def _many(world: World, source: random.Random) -> list[str]:
    count = source.randint(world.consortium.faulty_max + 1, len(world.members))
    return source.sample(world.members, count)


async def reset_all(world: World, source: random.Random) -> str:
    """Every connection breaks at once; new ones are welcome."""
    world.links.reset(lanes_between(world.members, world.members))
    return "all"


async def slow_all(world: World, source: random.Random) -> str:
    """Every link is slow and lossy."""
    lanes = [lane for lane in lanes_between(world.members, world.members) if lane[0] != lane[1]]
    seconds, delay_ms = world.pace * source.uniform(1, 3), source.uniform(10, 120)
    world.links.slow(lanes, delay_ms=delay_ms, stall_chance=0.02)
    await asyncio.sleep(seconds)
    world.links.heal(lanes)
    return f"{seconds:.1f} s, {delay_ms:.0f} ms"
