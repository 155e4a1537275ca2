"""A network that loses, delays, reorders, doubles and cuts, and tells ends when a link comes and goes.

Rule 1: what is in flight when either end restarts is lost, as with a broken connection.
Rule 2: a cut link reports its fall late, and its return later.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tests.campaigns.simulation.core.packets import Packet
from tests.campaigns.simulation.core.world import World


class Endpoint(Protocol):
    """A node as the network sees it."""

    incarnation: int
    is_up: bool

    def deliver(self, sender: int, packet: Packet) -> None:
        """Take a packet."""

    def link_changed(self, peer: int, *, is_up: bool) -> None:
        """Learn that a link rose or fell."""


@dataclass(slots=True)
class Weather:
    """How bad the network is."""

    delay_min_ms: int = 2
    delay_max_ms: int = 20
    loss_permille: int = 0
    duplicate_permille: int = 0
    straggler_permille: int = 0
    straggler_max_ms: int = 3_000


class Network:
    """All links of the world."""

    def __init__(self, world: World, weather: Weather) -> None:
        self.world = world
        self.weather = weather
        self.endpoints: dict[int, Endpoint] = {}
        self.cut: set[frozenset[int]] = set()
        self._linked: set[frozenset[int]] = set()

    def send(self, sender: int, receiver: int, packet: Packet) -> None:
        """Send one packet, with whatever luck it has."""
        if frozenset((sender, receiver)) not in self._linked or self.world.chance(self.weather.loss_permille):
            return
        copies = 2 if self.world.chance(self.weather.duplicate_permille) else 1
        for _ in range(copies):
            self._fly(sender, receiver, packet)

    def _fly(self, sender: int, receiver: int, packet: Packet) -> None:
        weather = self.weather
        delay_ms = self.world.random.randint(weather.delay_min_ms, weather.delay_max_ms)
        if self.world.chance(weather.straggler_permille):
            delay_ms += self.world.random.randrange(weather.straggler_max_ms)
        ends = (self.endpoints[sender].incarnation, self.endpoints[receiver].incarnation)

        def arrive() -> None:
            now_ends = (self.endpoints[sender].incarnation, self.endpoints[receiver].incarnation)
            is_whole = ends == now_ends and self.endpoints[receiver].is_up
            if is_whole and frozenset((sender, receiver)) not in self.cut:
                self.endpoints[receiver].deliver(sender, packet)

        self.world.after(delay_ms, arrive)

    def partition(self, side: set[int]) -> None:
        """Cut every link between a side and the rest."""
        rest = set(self.endpoints) - side
        self.cut |= {frozenset((one, other)) for one in side for other in rest}
        self.refresh()

    def heal(self) -> None:
        """Mend every cut."""
        self.cut.clear()
        self.refresh()

    def refresh(self) -> None:
        """Let links rise and fall as ends and cuts allow, with a delay."""
        ends = sorted(self.endpoints)
        for one in ends:
            for other in ends:
                if one < other:
                    delay_ms = self.world.random.randint(10, 300)
                    self.world.after(delay_ms, partial(self._settle, one, other))

    def _settle(self, one: int, other: int) -> None:
        link = frozenset((one, other))
        first, second = self.endpoints[one], self.endpoints[other]
        is_possible = first.is_up and second.is_up and link not in self.cut
        if is_possible == (link in self._linked):
            return
        if is_possible:
            self._linked.add(link)
        else:
            self._linked.discard(link)
        if first.is_up:
            first.link_changed(other, is_up=is_possible)
        if second.is_up:
            second.link_changed(one, is_up=is_possible)

    def drop_links(self, node: int) -> None:
        """Forget the links of a node that just crashed; its peers learn it."""
        for link in [link for link in sorted(self._linked, key=sorted) if node in link]:
            self._linked.discard(link)
            (peer,) = link - {node}
            if self.endpoints[peer].is_up:
                delay_ms = self.world.random.randint(5, 200)
                self.world.after(delay_ms, partial(self._report_down, peer, node))

    def _report_down(self, peer: int, node: int) -> None:
        if self.endpoints[peer].is_up and frozenset((peer, node)) not in self._linked:
            self.endpoints[peer].link_changed(node, is_up=False)
