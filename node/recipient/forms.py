"""The places of forms that are being read, and who goes where they are short (docs/pools.md).

Rule 1: a form needs no place until SMALL_SIZE bytes of it came: as many as there are connections are borne. FORMS_MAX
larger ones are read at once; others wait in the order in which they came, and whoever is slow gives way to them
(`node/api/pool.py`).
Rule 2: of these, forms of more than LARGE_SIZE and those of less have half of the places each, and wait for themselves.
So large documents, which take minutes, leave the places of others alone.
Rule 3: what forms hold in memory, which is all but the document, is HELD_SIZE_MAX in all. The form that holds more than
LARGE_SIZE and is furthest behind goes.
Rule 4: a bundle that came has no such place any more. UNPACKING_MAX are unpacked at once, each a piece in turn; where
one more comes, the one of which most was unpacked goes: so what unpacks to very much never holds up what does not.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from node.api.pace import Reading
from node.api.pool import Pool
from node.api.route import RouteError

FORMS_MAX: Final = 64
WAITING_MAX: Final = 128
LARGE_WAITING_MAX: Final = 32
SMALL_SIZE: Final = 64 * 1024
LARGE_SIZE: Final = 1024 * 1024
HELD_SIZE_MAX: Final = 64 * 1024 * 1024
UNPACKING_MAX: Final = 16
UNPACK_S: Final = 60.0

_WHAT: Final = "a place among the forms at once"


class FormPlace:
    """The place of one form. Tell it what came, and what of that is held."""

    def __init__(self, forms: "Forms", request: web.Request, reading: Reading) -> None:
        self._forms = forms
        self._request = request
        self._size = 0
        self.reading = reading
        self.held_size = 0
        self.unpacked_size = 0

    @property
    def is_large(self) -> bool:
        """Whether it is one of the large ones."""
        return self._size > LARGE_SIZE

    async def took(self, size: int) -> None:
        """Take note that so many bytes came. Raises RouteError where it has grown and waits in vain."""
        before, self._size = self._size, self._size + size
        self.reading.took(size)
        if before <= SMALL_SIZE < self._size <= LARGE_SIZE:
            await self._forms.grow(self._request, self.reading, is_large=False)
        elif before <= LARGE_SIZE < self._size:
            await self._forms.grow(self._request, self.reading, is_large=True)

    def hold(self, size: int) -> None:
        """Take note that so many bytes are held."""
        self.held_size += size
        self._forms.bound_held()

    def unpacks(self) -> None:
        """Take note that all of it came, and that it is unpacked from now on."""
        self._forms.begin_unpacking(self)


class Forms:
    """Who has a place."""

    def __init__(self, *, count_max: int, on_displaced: Callable[[], None] = lambda: None) -> None:
        large_max = count_max // 2
        self._on_displaced = on_displaced
        self._middle = Pool(
            _WHAT, size_max=count_max - large_max, waiting_max=WAITING_MAX, on_displaced=on_displaced
        )
        self._large = Pool(
            _WHAT, size_max=large_max, waiting_max=LARGE_WAITING_MAX, on_displaced=on_displaced
        )
        self._placed: dict[Reading, FormPlace] = {}
        self._unpacking: set[FormPlace] = set()

    @property
    def count(self) -> int:
        """How many forms are being read, or unpacked."""
        return len(self._placed)

    @property
    def held_size(self) -> int:
        """How many bytes all forms hold."""
        return sum(place.held_size for place in self._placed.values())

    @asynccontextmanager
    async def place(
        self, request: web.Request, *, whole_s: float, stall_s: float
    ) -> AsyncIterator[FormPlace]:
        """Have a place for a form, with so many seconds (`node/api/pace.py`). Raises RouteError or TimeoutError."""
        reading = Reading(whole_s=whole_s, stall_s=stall_s)
        place = FormPlace(self, request, reading)
        reading.go_on()
        self._placed[reading] = place
        try:
            async with reading.limits():
                yield place
        finally:
            del self._placed[reading]
            self._unpacking.discard(place)
            self._middle.leave(reading)
            self._large.leave(reading)

    async def grow(self, request: web.Request, reading: Reading, *, is_large: bool) -> None:
        """Take a place for a form that has grown. Raises RouteError."""
        reading.pause()
        self._middle.leave(reading)
        await (self._large if is_large else self._middle).enter(request, reading)

    def begin_unpacking(self, place: FormPlace) -> None:
        """Let a form be unpacked: it gives its place back."""
        self._middle.leave(place.reading)
        self._large.leave(place.reading)
        place.reading.works(UNPACK_S)
        if len(self._unpacking) >= UNPACKING_MAX:
            most = max(self._unpacking, key=lambda each: each.unpacked_size)
            self._unpacking.remove(most)
            self._displace(most)
        self._unpacking.add(place)

    def bound_held(self) -> None:
        """End the furthest behind of those that hold much, until all hold no more than they may."""
        holding = [place for place in self._placed.values() if place.held_size > LARGE_SIZE]
        holding.sort(key=lambda place: place.reading.behind_s())
        size = self.held_size
        while size > HELD_SIZE_MAX and holding:
            furthest = holding.pop()
            size -= furthest.held_size
            furthest.held_size = 0
            self._displace(furthest)

    def _displace(self, place: FormPlace) -> None:
        self._on_displaced()
        place.reading.displace()


def displaced() -> RouteError:
    """Return the refusal of a form that lost its place."""
    found, cure = "others that came faster and need it", "Send the whole form at once, or come again later."
    return RouteError(status=503, code="busy", where="body", expected=_WHAT, found=found, cure=cure)
