"""The network of a simulated world: it loses, delays, reorders, doubles, clogs and cuts, in each direction.

Rule 1: the fate of the k-th message from one machine to another depends on the schedule's seed, the two and k,
and on nothing else: a change elsewhere does not stir every message.
Rule 2: what is in flight when either process ends is lost, as with a broken connection.
Rule 3: a link that is cut in both directions falls after a while, and both ends are told. One that is cut in
one direction stays up, and loses what goes that way.
Rule 4: a machine that a peer refused gets no link to it until the time is over.
Rule 5: ends that do not pin each other's certificates are not connected; one that cannot pin the other may fetch from
it (certificates.py). Its messages go by the name of a stranger, and no broadcast passes. Where neither can pin the
other, each fetches on a connection of its own: a question is never taken for an answer.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from node.peernames import is_unpinned, unpinned
from tests.campaigns.simulation.whole.certificates import Certificates
from tests.campaigns.simulation.whole.events import Timeline


class Endpoint(Protocol):
    """A machine as the network sees it."""

    number: int
    member: str
    incarnation: int
    is_up: bool

    certificates: Certificates

    def deliver(self, sender: str, data: bytes) -> None: ...

    def peer_up(self, peer: str) -> None: ...

    def peer_down(self, peer: str) -> None: ...


@dataclass(slots=True)
class Weather:
    """How bad the network is."""

    delay_min_ms: int = 2
    delay_max_ms: int = 15
    loss_permille: int = 0
    duplicate_permille: int = 0
    straggler_permille: int = 0
    straggler_max_ms: int = 2_000


CALM = Weather()


class Links:
    """All links of a world."""

    def __init__(self, timeline: Timeline, seed: int) -> None:
        self.timeline = timeline
        self.weather = Weather()
        self.machines: dict[int, Endpoint] = {}
        self.cut: set[tuple[int, int]] = set()
        self.calm: set[int] = set()
        self.seed = seed
        self._linked: set[tuple[int, int]] = set()
        self._fetching: set[tuple[int, int]] = set()
        self._clogged: dict[tuple[int, int], int] = {}
        self._refused: dict[tuple[int, int], int] = {}
        self._chances: dict[tuple[int, int], random.Random] = {}

    # Messages.

    def send(self, sender: Endpoint, member: str, data: bytes, *, sent_ms: int) -> bool:
        """Send to every machine of a member; tell whether any is connected."""
        is_connected = False
        for receiver in self.machines.values():
            if self._is_reached(sender, receiver, member):
                is_connected = True
                self._send(sender, receiver, data, sent_ms, is_asking=is_unpinned(member))
        return is_connected

    def _is_reached(self, sender: Endpoint, receiver: Endpoint, name: str) -> bool:
        if receiver.member == name:
            is_served = (receiver.number, sender.number) in self._fetching
            return is_served or self.is_linked(sender.number, receiver.number)
        return (sender.number, receiver.number) in self._fetching and unpinned(receiver.member) == name

    def broadcast(self, sender: Endpoint, data: bytes, *, sent_ms: int) -> int:
        """Send to every connected machine; return how many these are."""
        count = 0
        for receiver in self.machines.values():
            if self.is_linked(sender.number, receiver.number):
                count += 1
                self._send(sender, receiver, data, sent_ms)
        return count

    def is_linked(self, one: int, other: int) -> bool:
        """Tell whether two machines are connected."""
        return ((one, other) if one < other else (other, one)) in self._linked

    def _send(
        self, sender: Endpoint, receiver: Endpoint, data: bytes, sent_ms: int, *, is_asking: bool = False
    ) -> None:
        way = (sender.number, receiver.number)
        chance = self._chances.get(way)
        if chance is None:
            chance = self._chances[way] = random.Random(f"{self.seed}/{way[0]}/{way[1]}")
        weather = CALM if way[0] in self.calm and way[1] in self.calm else self.weather
        bits = chance.getrandbits(64)
        if bits % 1_000 < weather.loss_permille:
            return
        copies = 2 if bits // 1_000 % 1_000 < weather.duplicate_permille else 1
        for _ in range(copies):
            bits = chance.getrandbits(64)
            delay_ms = weather.delay_min_ms + bits % (weather.delay_max_ms - weather.delay_min_ms + 1)
            if bits // 1_000 % 1_000 < weather.straggler_permille:
                delay_ms += bits // 1_000_000 % weather.straggler_max_ms
            arrival_ms = max(sent_ms + delay_ms, self._clogged.get(way, 0))
            ends = (sender.incarnation, receiver.incarnation)
            self.timeline.at(arrival_ms, partial(self._arrive, sender, receiver, ends, data, is_asking))

    def _arrive(
        self, sender: Endpoint, receiver: Endpoint, ends: tuple[int, int], data: bytes, is_asking: bool
    ) -> None:
        if ends != (sender.incarnation, receiver.incarnation) or not receiver.is_up:
            return
        if (sender.number, receiver.number) in self.cut:
            return
        if self.is_linked(sender.number, receiver.number):
            receiver.deliver(sender.member, data)
        elif not is_asking and (receiver.number, sender.number) in self._fetching:
            receiver.deliver(unpinned(sender.member), data)
        elif is_asking and (sender.number, receiver.number) in self._fetching:
            receiver.deliver(sender.member, data)

    # Cuts.

    def cut_between(self, side: Iterable[int], rest: Iterable[int], *, is_one_way: bool = False) -> None:
        """Cut every link from one side to another, and back unless `is_one_way`."""
        for one in side:
            for other in rest:
                if one != other:
                    self.cut.add((one, other))
                    if not is_one_way:
                        self.cut.add((other, one))
        self.refresh()

    def ring(self, order: list[int]) -> None:
        """Leave each machine its two neighbours only."""
        count = len(order)
        for place, one in enumerate(order):
            for distance in range(2, count - 1):
                self.cut.add((one, order[(place + distance) % count]))
        self.refresh()

    def clog(self, one: int, other: int, until_ms: int) -> None:
        """Hold back what goes from one machine to another until a time."""
        self._clogged[(one, other)] = until_ms

    def heal(self, among: set[int] | None = None) -> None:
        """Mend every cut, or those among some machines."""
        if among is None:
            self.cut.clear()
        else:
            self.cut = {way for way in self.cut if not among.issuperset(way)}
        self.refresh()

    def refuse(self, one: int, other: int, until_ms: int) -> None:
        """Let one machine refuse another until a time."""
        self._refused[(one, other)] = until_ms
        self._fall(*sorted((one, other)))
        self.timeline.at(until_ms, partial(self._settle, *sorted((one, other))))

    # Links rise and fall.

    def refresh(self) -> None:
        """Let links rise and fall as ends and cuts allow, each with a delay of its own."""
        for one in self.machines:
            for other in self.machines:
                if one < other:
                    self.timeline.after(20 + 37 * (3 * one + other) % 250, partial(self._settle, one, other))

    def _settle(self, one: int, other: int) -> None:
        first, second = self.machines[one], self.machines[other]
        if first.member == second.member:
            return
        now_ms = self.timeline.now_ms
        is_refused = any(self._refused.get(way, 0) > now_ms for way in ((one, other), (other, one)))
        is_cut = (one, other) in self.cut and (other, one) in self.cut
        is_possible = first.is_up and second.is_up and not is_cut and not is_refused
        mine, theirs = first.certificates, second.certificates
        is_linked = is_possible and (mine.reaches(theirs) or theirs.reaches(mine))
        fetches = set()
        if is_possible and not is_linked:
            fetches |= {(one, other)} if mine.is_pinned_by(theirs) else set()
            fetches |= {(other, one)} if theirs.is_pinned_by(mine) else set()
        held = self._fetching & {(one, other), (other, one)}
        if (is_linked, fetches) == ((one, other) in self._linked, held):
            return
        self._fall(one, other)
        # A handshake needs both directions.
        if (one, other) in self.cut or (other, one) in self.cut:
            return
        if is_linked:
            self._linked.add((one, other))
            first.peer_up(second.member)
            second.peer_up(first.member)
        for fetcher, server in sorted(fetches):
            self._fetching.add((fetcher, server))
            self.timeline.sometimes["fetching from a peer that cannot be pinned"] += 1
            self.machines[fetcher].peer_up(unpinned(self.machines[server].member))

    def repin(self, number: int) -> None:
        """Let a machine's links end, and rise again, as its certificates and pins allow now."""
        for other in self.machines:
            if other != number:
                self.timeline.after(1, partial(self._settle, *sorted((number, other))))

    def _fall(self, one: int, other: int) -> None:
        first, second = self.machines[one], self.machines[other]
        for end, peer in ((first, second), (second, first)):
            if (end.number, peer.number) in self._fetching:
                self._fetching.discard((end.number, peer.number))
                if end.is_up:
                    end.peer_down(unpinned(peer.member))
        if (one, other) not in self._linked:
            return
        self._linked.discard((one, other))
        if first.is_up:
            first.peer_down(second.member)
        if second.is_up:
            second.peer_down(first.member)

    def drop(self, number: int) -> None:
        """Forget the links of a machine that went down; its peers learn it."""
        for fetcher, server in sorted(self._fetching):
            if number in (fetcher, server):
                self._fetching.discard((fetcher, server))
                if self.machines[fetcher].is_up:
                    self.machines[fetcher].peer_down(unpinned(self.machines[server].member))
        for one, other in sorted(self._linked):
            if number in (one, other):
                self._linked.discard((one, other))
                peer = self.machines[other if one == number else one]
                if peer.is_up:
                    peer.peer_down(self.machines[number].member)
