"""Events: what became final, as server-sent events that a subscriber can resume.

Rule 1: one event for each operation, numbered from 0 within its block, and one for the block itself after
them. An event's id is its cursor, `height.index`: a subscriber that sends the last id it saw misses nothing and
sees nothing twice. A cursor of a height alone stands after all of that block.
Rule 2: at most SUBSCRIBERS_MAX subscribers, and nothing is queued for any: each reads blocks at its own pace. One more
takes the place of one that does not read, or else of the one that has read for longest: it resumes from its cursor.
Rule 3: a subscriber that takes no bytes for WRITE_S is dropped. It resumes from its cursor.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from aiohttp import web

from ledger.encoding.records import Json, to_json
from ledger.errors import EncodingError
from ledger.rules.blocks import Block
from node.api.connection import connection_of
from node.api.route import require_number
from node.api.service import NodeService
from node.api.turns import Turns
from node.visibletext import ascii_json

SUBSCRIBERS_MAX: Final = 64
WRITE_S: Final = 10.0
KEEP_ALIVE_S: Final = 15.0
CHUNK_SIZE: Final = 64 * 1024

SUBSCRIBERS: Final = "subscribers"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next event to send: the block's height, and the index within it."""

    height: int
    index: int

    @classmethod
    def after(cls, text: str) -> "Cursor":
        """Return the place after the event with this id. Raises EncodingError."""
        height, point, index = text.partition(".")
        if not point:
            return cls(require_number(height, "cursor") + 1, 0)
        return cls(require_number(height, "cursor"), require_number(index, "cursor") + 1)


@dataclass(eq=False, slots=True)
class _Subscriber:
    """Who reads, until it is told that it ends."""

    request: web.Request
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def unread_s(self) -> float:
        """Return for how many seconds it has not read: 0 where it reads, without end where it left."""
        if self.request.transport is None:
            return float("inf")
        unread_s = connection_of(self.request).behind_s(asyncio.get_running_loop().time())
        return unread_s or 0.0

    def abort(self) -> None:
        """End without waiting for it to read what it does not read."""
        if self.request.transport is not None:
            self.request.transport.abort()


class Events:
    """Streams what becomes final to subscribers."""

    def __init__(self, node: NodeService, *, on_displaced: Callable[[], None] = lambda: None) -> None:
        self._node = node
        self._on_displaced = on_displaced
        self._turns = Turns()
        self._is_stopping = False
        # In the order in which they came.
        self._subscribers: dict[_Subscriber, None] = {}

    @property
    def subscribers_count(self) -> int:
        """How many subscribers there are."""
        return len(self._subscribers)

    def stop(self) -> None:
        """End every subscription."""
        self._is_stopping = True
        for subscriber in self._subscribers:
            subscriber.ended.set()

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        """Stream events from a cursor on; without one, from now on."""
        cursor = self._cursor(request)
        while len(self._subscribers) >= SUBSCRIBERS_MAX:
            self._displace()
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        subscriber = _Subscriber(request)
        if self._is_stopping:
            subscriber.ended.set()
        self._subscribers[subscriber] = None
        try:
            await response.prepare(request)
            await self._stream(response, cursor, subscriber.ended)
        except TimeoutError:
            # Closing in good order would wait for the subscriber to read what it does not read.
            subscriber.abort()
        except ConnectionError:
            # The subscriber left.
            return response
        finally:
            self._subscribers.pop(subscriber, None)
        return response

    def _displace(self) -> None:
        # The first of those that are equal is the one that came first.
        displaced = max(self._subscribers, key=_Subscriber.unread_s)
        del self._subscribers[displaced]
        self._on_displaced()
        if displaced.unread_s():
            displaced.abort()
        displaced.ended.set()

    def _cursor(self, request: web.Request) -> Cursor:
        given = request.headers.getall("Last-Event-ID", [])
        if len(given) > 1:
            raise EncodingError(where="cursor", expected="one Last-Event-ID", found=f"{len(given)}")
        text = given[0] if given else request.query.get("from")
        return Cursor(self._node.status().height + 1, 0) if text is None else Cursor.after(text)

    async def _stream(self, response: web.StreamResponse, cursor: Cursor, ended: asyncio.Event) -> None:
        stopping = asyncio.ensure_future(ended.wait())
        height, index = cursor.height, cursor.index
        try:
            while not ended.is_set():
                if not await self._is_final(height, stopping):
                    await _write(response, b": waiting\n\n")
                    continue
                async with self._turns.turn():
                    block = self._node.find_block(height)
                    assert block is not None, "a final height has a block"
                    chunks = list(_chunks(block, index))
                for chunk in chunks:
                    await _write(response, chunk)
                height, index = height + 1, 0
        finally:
            stopping.cancel()

    async def _is_final(self, height: int, stopping: "asyncio.Task[Literal[True]]") -> bool:
        waiting = asyncio.ensure_future(self._node.wait_for_height(height))
        both: list[asyncio.Task[None] | asyncio.Task[Literal[True]]] = [waiting, stopping]
        try:
            done, _ = await asyncio.wait(both, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return waiting in done


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_S):
        await response.write(data)


def _chunks(block: Block, first_index: int) -> Iterator[bytes]:
    pending = b""
    for index, event in enumerate(block_events(block)):
        if index < first_index:
            continue
        pending += event
        if len(pending) >= CHUNK_SIZE:
            yield pending
            pending = b""
    if pending:
        yield pending


def block_events(block: Block) -> Iterator[bytes]:
    """Yield the events of a final block, each in its wire form."""
    height, index = block.header.height, 0
    for transaction in block.transactions:
        for operation in transaction.body.operations:
            content: dict[str, Json] = {
                "height": height,
                "index": index,
                "time_ms": block.header.time_ms,
                "transaction": transaction.id.hex(),
                "sender": transaction.body.sender,
                "operation": to_json(operation),
            }
            yield _event("operation", height, index, content)
            index += 1
    content = {
        "height": height,
        "index": index,
        "time_ms": block.header.time_ms,
        "hash": block.hash.hex(),
        "state_root": block.header.state_root.hex(),
        "transactions_count": len(block.transactions),
        "operations_count": index,
    }
    yield _event("block", height, index, content)


def _event(kind: str, height: int, index: int, content: dict[str, Json]) -> bytes:
    return f"id: {height}.{index}\nevent: {kind}\ndata: {ascii_json(content)}\n\n".encode()
