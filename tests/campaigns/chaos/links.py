"""The links between nodes: bytes go through here, so that a link can stall, slow down or break.

Rule 1: each ordered pair of members has a port of its own, which its `node.toml` names as the other's address.
TLS passes through untouched.
Rule 2: a lane is one direction between two members, whoever dialled: what holds for it holds for every
connection of the pair.
Rule 3: a stalled lane loses nothing and delivers nothing; TCP holds the sender back. A cut pair ends what is
connected and refuses what comes.
Rule 4: a lane may swallow large packets, as a path does whose MTU nobody knows: a connection with usual segments that
sends one stands still from there on in that direction.
"""

import asyncio
import contextlib
import itertools
import random
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
CHUNK_SIZE = 64 * 1024
STALL_MS_MAX = 1_500


@dataclass(eq=False, slots=True)
class Lane:
    """One direction between two members."""

    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    delay_ms: float = 0.0
    stall_chance: float = 0.0
    packet_size_max: int | None = None

    def __post_init__(self) -> None:
        self.is_open.set()

    async def pass_through(self, source: random.Random) -> None:
        """Return when the next bytes may go on."""
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1_000)
        if self.stall_chance and source.random() < self.stall_chance:
            await asyncio.sleep(source.uniform(0.1, STALL_MS_MAX / 1_000))
        await self.is_open.wait()

    def swallows(self, data: bytes, *ends: socket.socket) -> bool:
        """Say whether these bytes never arrive. Both ends of a connection agree on its segments."""
        if self.packet_size_max is None or len(data) <= self.packet_size_max:
            return False
        sizes = [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) for each in ends]
        return min(sizes) > self.packet_size_max


class Links:
    """All links between members whose nodes listen on these ports."""

    def __init__(self, ports: Mapping[str, int], source: random.Random) -> None:
        self._ports = dict(ports)
        self._source = source
        self._lanes = {pair: Lane() for pair in itertools.permutations(self._ports, 2)}
        self._cut: set[frozenset[str]] = set()
        self._listening: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._carried: dict[asyncio.Task[None], frozenset[str]] = {}
        self.addresses: dict[tuple[str, str], int] = {}
        """The port that the first member dials to reach the second."""

    def open(self) -> None:
        """Listen for every ordered pair."""
        for dialler, listener in self._lanes:
            listening = socket.create_server((LOOPBACK, 0))
            listening.setblocking(False)
            self._listening.append(listening)
            self.addresses[dialler, listener] = listening.getsockname()[1]
            self._accepting.append(asyncio.ensure_future(self._accept(listening, dialler, listener)))

    async def close(self) -> None:
        """Stop listening and end every connection."""
        ended = [*self._accepting, *self._carried]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        for listening in self._listening:
            listening.close()

    def stall(self, lanes: Iterable[tuple[str, str]]) -> None:
        """Hold back what goes along these lanes."""
        for lane in lanes:
            self._lanes[lane].is_open.clear()

    def slow(self, lanes: Iterable[tuple[str, str]], *, delay_ms: float, stall_chance: float = 0.0) -> None:
        """Delay every piece of what goes along these lanes, and hold back some, as repeated loss does."""
        for lane in lanes:
            self._lanes[lane].delay_ms = delay_ms
            self._lanes[lane].stall_chance = stall_chance

    def swallow(self, lanes: Iterable[tuple[str, str]], *, packet_size_max: int | None) -> None:
        """Have these lanes carry only packets of up to so many bytes; None: of any size again."""
        for lane in lanes:
            self._lanes[lane].packet_size_max = packet_size_max

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """End the connections of these pairs and refuse new ones."""
        self._cut |= {frozenset(pair) for pair in pairs}
        self.reset(pairs)

    def reset(self, pairs: Iterable[tuple[str, str]]) -> None:
        """End the connections of these pairs; new ones are welcome."""
        ended = {frozenset(pair) for pair in pairs}
        self._end(lambda pair: pair in ended)

    def heal(self, lanes: Iterable[tuple[str, str]]) -> None:
        """Let these lanes carry again at once."""
        for lane in lanes:
            self._lanes[lane].is_open.set()
            self._lanes[lane].delay_ms = self._lanes[lane].stall_chance = 0.0
            self._lanes[lane].packet_size_max = None
            self._cut.discard(frozenset(lane))

    def _end(self, is_ended: Callable[[frozenset[str]], bool]) -> None:
        for task, pair in list(self._carried.items()):
            if is_ended(pair):
                task.cancel()

    async def _accept(self, listening: socket.socket, dialler: str, listener: str) -> None:
        pair = frozenset((dialler, listener))
        while True:
            accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
            if pair in self._cut:
                accepted.close()
                continue
            task = asyncio.ensure_future(self._carry(dialler, listener, accepted))
            self._carried[task] = pair
            task.add_done_callback(self._carried.pop)

    async def _carry(self, dialler: str, listener: str, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_INET) as far, contextlib.suppress(OSError):
            for each in (near, far):
                each.setblocking(False)
            await asyncio.get_running_loop().sock_connect(far, (LOOPBACK, self._ports[listener]))
            pumps = (
                asyncio.ensure_future(self._pump(near, far, self._lanes[dialler, listener])),
                asyncio.ensure_future(self._pump(far, near, self._lanes[listener, dialler])),
            )
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, near: socket.socket, far: socket.socket, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(near, CHUNK_SIZE):
            await lane.pass_through(self._source)
            if lane.swallows(data, near, far):
                await loop.create_future()
            await loop.sock_sendall(far, data)


def lanes_of(member: str, members: Iterable[str]) -> list[tuple[str, str]]:
    """Return both lanes between a member and each of the others."""
    others = [other for other in members if other != member]
    return [(member, other) for other in others] + [(other, member) for other in others]


def lanes_between(some: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Return both lanes between each of some and each of others."""
    pairs = list(itertools.product(some, others))
    return pairs + [(second, first) for first, second in pairs]
