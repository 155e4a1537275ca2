"""The places of a listener's connections, and who goes where they are short (docs/pools.md).

Rule 1: nobody who comes is refused a place. Where all are taken, the client that is furthest behind goes: whoever
owes the rest of a head or a body, reads its answer too slowly, or idles.
Rule 2: whoever waits for us keeps its place. So those are bounded below the places there are: REQUESTS_MAX requests,
and REQUESTS_PER_ROUTE_MAX of one route, or as many as the route itself says. One more takes the place of the one that
is furthest behind, with its body or with its answer, and is refused where none is. A route that is kept needs no such
place: health, readiness, status and metrics are answered all the same.
Rule 3: whoever was taken in can go only after SPARED_S, and after the loop went round so often that what it sent with
its first bytes was read. Until then newcomers wait in the system's queue, in the order in which they came.
Rule 4: answers that nobody reads take at most UNREAD_SIZE_MAX bytes. The slowest reader goes.
"""

import asyncio
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from node.api.route import Route, RouteError

REQUESTS_MAX: Final = 256
REQUESTS_PER_ROUTE_MAX: Final = 192
SPARED_S: Final = 0.1
# From the acceptance of a socket to the first step of its request's answer the loop goes round six times.
SPARED_ROUNDS: Final = 8
UNREAD_SIZE_MAX: Final = 64 * 1024 * 1024
# Looking at everybody costs as much as accepting some: it is done once for so many who go.
LISTED_COUNT: Final = 32

CONNECTIONS, REQUESTS, UNREAD = "connections", "requests", "unread"


class Placed(Protocol):
    """Whoever has a place."""

    @property
    def unread_size(self) -> int:
        """How many bytes of its answers it does not take; 0 where it takes them."""
        ...

    def behind_s(self, now_s: float) -> float | None:
        """Return by how many seconds its client is behind; None where it is we who owe something."""
        ...

    def cut_off(self) -> None:
        """End at once."""
        ...


class _Furthest:
    """Finds who of many goes next, looking at everybody once for so many who go."""

    def __init__(self) -> None:
        self._listed: list[tuple[float, Placed]] = []

    def find(self, among: Mapping[Placed, int], round_now: int) -> Placed | None:
        """Return the furthest behind of those that are spared no longer."""
        now_s = asyncio.get_running_loop().time()
        while self._listed:
            listed_s, placed = self._listed[-1]
            behind_s = placed.behind_s(now_s) if placed in among else None
            # Time only adds to it: who is less behind than when it was listed has sent something since.
            if behind_s is not None and behind_s >= listed_s:
                return placed
            self._listed.pop()
        found = [
            (behind_s, placed)
            for placed, round_taken in among.items()
            if (behind_s := placed.behind_s(now_s)) is not None
            and behind_s >= SPARED_S
            and round_now - round_taken >= SPARED_ROUNDS
        ]
        self._listed = heapq.nlargest(LISTED_COUNT, found, key=lambda each: each[0])[::-1]
        return self._listed[-1][1] if self._listed else None


class Places:
    """Who has a place, and who of them waits for an answer."""

    def __init__(self, *, count_max: int, on_displaced: Callable[[str], None] = lambda _pool: None) -> None:
        """`on_displaced` is told the pool in which somebody lost its place."""
        self._count_max = count_max
        self._on_displaced = on_displaced
        self._rounds = 0
        # Each with the round in which it came.
        self._placed: dict[Placed, int] = {}
        self._furthest = _Furthest()
        self._asking: dict[Placed, Route] = {}

    @property
    def count(self) -> int:
        """How many places are taken."""
        return len(self._placed)

    @property
    def requests_count(self) -> int:
        """How many requests are under way, those of kept routes not among them."""
        return len(self._asking)

    def has_room(self) -> bool:
        """Say whether one more can be taken in now."""
        return len(self._placed) < self._count_max or self._find_furthest() is not None

    def went_round(self) -> None:
        """Take note that the loop went round since the last newcomers were taken in."""
        self._rounds += 1

    def take(self, newcomer: Placed) -> None:
        """Give a place to whoever was accepted, where there is room."""
        if len(self._placed) >= self._count_max and (furthest := self._find_furthest()) is not None:
            self._end(furthest, CONNECTIONS)
        self._placed[newcomer] = self._rounds

    def free_one(self) -> None:
        """Take the place of the one that is furthest behind, spared or not, where what it holds is needed."""
        found = _find_furthest(self._placed)
        if found is not None:
            self._end(found[1], CONNECTIONS)

    def leave(self, placed: Placed) -> None:
        """Take note that one is gone."""
        self._placed.pop(placed, None)

    @contextmanager
    def request(self, placed: Placed, route: Route) -> Iterator[None]:
        """Let a request be under way. Raises RouteError where too many are that wait for us."""
        # Streams have places of their own.
        if route.is_kept or route.is_stream:
            yield
            return
        self._ask(placed, route)
        try:
            yield
        finally:
            self._asking.pop(placed, None)

    @contextmanager
    def kept_waiting(self, placed: Placed) -> Iterator[None]:
        """Let a request wait for room that is bounded elsewhere; then it is under way again. Raises RouteError."""
        route = self._asking.pop(placed, None)
        yield
        if route is not None:
            self._ask(placed, route)

    def set_aside(self, placed: Placed) -> None:
        """Take note that a request waits where that is bounded elsewhere, and is answered right after."""
        self._asking.pop(placed, None)

    def _ask(self, placed: Placed, route: Route) -> None:
        self._make_place(self._asking, REQUESTS_MAX, "requests")
        same = [other for other, its in self._asking.items() if its.name == route.name]
        count_max = REQUESTS_PER_ROUTE_MAX if route.places_max is None else route.places_max
        self._make_place(same, count_max, f"requests of {route.name}")
        self._asking[placed] = route

    def _make_place(self, among: Collection[Placed], count_max: int, what: str) -> None:
        if len(among) < count_max:
            return
        furthest = _find_furthest(among)
        if furthest is None:
            expected, cure = f"at most {count_max} {what} at once", "Come again later."
            raise RouteError(
                status=503, code="busy", where="requests", expected=expected, found="that many", cure=cure
            )
        self._end(furthest[1], REQUESTS)

    def bound_unread(self) -> None:
        """Cut off the slowest readers until the rest does not hold too much."""
        now_s = asyncio.get_running_loop().time()
        unread = [
            (behind_s, size, placed)
            for placed in self._placed
            if (size := placed.unread_size) and (behind_s := placed.behind_s(now_s)) is not None
        ]
        unread.sort(key=lambda each: each[0])
        size = sum(size for _, size, _ in unread)
        while size > UNREAD_SIZE_MAX:
            _, freed_size, placed = unread.pop()
            size -= freed_size
            self._end(placed, UNREAD)

    def _find_furthest(self) -> Placed | None:
        """Return who goes next: the furthest behind of those that are spared no longer."""
        return self._furthest.find(self._placed, self._rounds)

    def _end(self, placed: Placed, pool: str) -> None:
        self._placed.pop(placed, None)
        self._asking.pop(placed, None)
        self._on_displaced(pool)
        placed.cut_off()


def _find_furthest(among: Iterable[Placed]) -> tuple[float, Placed] | None:
    now_s = asyncio.get_running_loop().time()
    found = [(behind_s, placed) for placed in among if (behind_s := placed.behind_s(now_s)) is not None]
    return max(found, key=lambda each: each[0], default=None)
