"""A flood of slow clients takes no place for good: whoever speaks plainly is answered while it lasts.

Bounds are made small, so that a test fills them. Each flood comes back the moment it is cut off.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
import pytest

from node.api import bodies, connection, events, places, pool, submissions
from node.api import route as routes
from node.api.server import Api
from node.api.service import PENDING, Submission
from tests.node.api.test_api import JSON, ask, check_refusal, raw, read_events, wait_for_metric
from tests.support.consortium import make_anchor, make_transaction
from tests.support.machine import PATIENCE_S
from tests.support.memory_node import MemoryNode, serve
from tests.support.slowclients import Manner, flooded

CONNECTIONS, REQUESTS, PER_ROUTE, SUBSCRIBERS = 48, 16, 12, 8
# More than there are places, and than those and what waits in the system's queue.
FLOODERS = 80
CALLS = 6

HOST = b"Host: localhost\r\n"
HEAD = b"GET /v1/health HTTP/1.1\r\n" + HOST
POST = b"POST /v1/transactions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
SUBMISSION = json.dumps({"transactions": ["00"], "wait_ms": 0})

HALF_HEADS = Manner(HEAD)
DRIPPED_HEADS = Manner(HEAD + b"X: ", b"a")
HALF_BODIES = Manner(POST + b"Content-Length: 1000\r\n\r\n{")
LARGE_HALF_BODIES = Manner(POST + b"Content-Length: 6000000\r\n\r\n{", b" ")
CHUNKED_HALF_BODIES = Manner(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"1\r\n \r\n")
UNREAD = Manner(b"GET /v1/blocks HTTP/1.1\r\n" + HOST + b"\r\n", is_reading=False)

FLOODS = {
    "silence": (Manner(b""),),
    "half heads": (HALF_HEADS,),
    "heads a byte at a time": (DRIPPED_HEADS,),
    "heads without end": (Manner(HEAD, b"X: " + b"a" * 4_000 + b"\r\n", pause_s=0.001),),
    "half bodies": (HALF_BODIES,),
    "bodies a byte at a time": (Manner(HALF_BODIES.beginning, b" "),),
    "large half bodies": (LARGE_HALF_BODIES,),
    "large bodies that stop": (Manner(LARGE_HALF_BODIES.beginning + b" " * 300_000),),
    "half bodies in chunks": (CHUNKED_HALF_BODIES,),
    "half heads and half bodies": (HALF_HEADS, HALF_BODIES, DRIPPED_HEADS, LARGE_HALF_BODIES),
    "idle connections": (Manner(HEAD + b"\r\n"),),
    "answers that nobody reads": (UNREAD,),
    "requests in one go that nobody reads": (Manner(UNREAD.beginning * 200, is_reading=False),),
    "subscribers": (Manner(b"GET /v1/events HTTP/1.1\r\n" + HOST + b"\r\n"),),
    "subscribers that owe a body": (
        Manner(b"GET /v1/events HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n"),
    ),
    "bodies for who takes none": (Manner(HEAD + b"Content-Length: 6000000\r\n\r\n", b" "),),
    "upgrades": (Manner(HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"a"),),
    "everything": (HALF_HEADS, HALF_BODIES, UNREAD, LARGE_HALF_BODIES, Manner(b""), DRIPPED_HEADS),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bounds that few clients fill."""
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", CONNECTIONS)
    monkeypatch.setattr(places, "REQUESTS_MAX", REQUESTS)
    monkeypatch.setattr(places, "REQUESTS_PER_ROUTE_MAX", PER_ROUTE)
    monkeypatch.setattr(events, "SUBSCRIBERS_MAX", SUBSCRIBERS)


Scenario = Callable[[MemoryNode, str], Awaitable[None]]


def run(scenario: Scenario, *, blocks_count: int = 1, idle_s: float = 20.0) -> None:
    """Run a scenario against a served node that has a block that is large."""

    async def whole() -> None:
        node = MemoryNode()
        for block in range(blocks_count):
            anchors = [make_anchor(1_000 * block + number) for number in range(1, 400)]
            assert not node.extend(make_transaction("hk-bureau", *anchors))
        async with serve(node, idle_s=idle_s) as url:
            await scenario(node, url)

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_S))


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def fresh() -> aiohttp.ClientSession:
    """Return a client that connects for each request anew."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


async def call_everything(url: str) -> dict[str, int]:
    """Ask what must be answered, each so many times; return how many of each were."""
    answered: dict[str, int] = {}
    large = SUBMISSION.encode() + b" " * 1_000_000
    async with fresh() as session:
        for _ in range(CALLS):
            for path in ("/v1/health", "/v1/ready", "/metrics", "/v1/status", "/v1/genesis"):
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(url + path) as response:
                        await response.read()
                        answered[path] = answered.get(path, 0) + (response.status == 200)
            for name, body in (("small", SUBMISSION.encode()), ("large", large)):
                with contextlib.suppress(aiohttp.ClientError):
                    status, _ = await ask(session, "POST", url + "/v1/transactions", body, JSON)
                    answered[name] = answered.get(name, 0) + (status == 200)
    return answered


ALL_ANSWERED = dict.fromkeys(
    ("/v1/health", "/v1/ready", "/metrics", "/v1/status", "/v1/genesis", "small", "large"), CALLS
)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
def test_whoever_speaks_plainly_is_answered_while_a_flood_lasts(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Those who really send much wait for room like anybody: no more of them than can wait.
    count = bodies.WAITING_MAX if name == "large bodies that stop" else FLOODERS

    async def scenario(_node: MemoryNode, url: str) -> None:
        async with flooded(port_of(url), count, *FLOODS[name]):
            assert await call_everything(url) == ALL_ANSWERED
        assert await call_everything(url) == ALL_ANSWERED

    run(scenario)
    assert "failure" not in caplog.text and "Traceback" not in caplog.text


@pytest.mark.slow
def test_the_flood_of_the_field_at_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    # As it came: 256 half heads, refilled, and as many as there are places besides.
    monkeypatch.undo()

    async def scenario(_node: MemoryNode, url: str) -> None:
        for count in (256, connection.CONNECTIONS_MAX + 64):
            async with flooded(port_of(url), count, HALF_HEADS), fresh() as session:
                for _ in range(30):
                    assert (await ask(session, "GET", url + "/v1/health"))[0] == 200

    run(scenario)


def test_a_client_that_keeps_its_connection_and_uses_it_outlives_a_flood() -> None:
    async def scenario(_node: MemoryNode, url: str) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            flooded(port_of(url), FLOODERS, HALF_HEADS) as flood,
        ):
            before = flood.ended_count
            while flood.ended_count < before + FLOODERS:
                assert (await ask(session, "GET", url + "/v1/status"))[0] == 200

    run(scenario)


# -- who goes -----------------------------------------------------------------------------------------------


async def connected(url: str, said: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
    writer.write(said)
    return reader, writer


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    """Read to the end, which must come."""
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), PATIENCE_S)
    return True


def test_one_more_connection_takes_the_place_of_the_one_that_is_furthest_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 3)

    async def scenario(_node: MemoryNode, url: str) -> None:
        first, second, third = [await connected(url, HEAD) for _ in range(3)]
        # The first is answered, and owes something since later than the others.
        first[1].write(b"\r\n")
        assert (await first[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        assert (await raw(url, HEAD + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await is_cut_off(second[0])
        for (reader, writer), rest in ((first, HEAD + b"\r\n"), (third, b"\r\n")):
            writer.write(rest)
            assert b"200" in await reader.readuntil(b" OK")
        for _, writer in (first, second, third):
            writer.close()

    run(scenario)


class WaitingNode(MemoryNode):
    """A node at which submissions wait until they are let go: those that want to, and where it is slow, all."""

    def __init__(self) -> None:
        super().__init__()
        self.granted_ms: list[int] = []
        self.let_go = asyncio.Event()
        self.left_count = 0
        self.is_slow = False

    async def submit(self, transactions: object, *, wait_ms: int) -> list[Submission]:
        self.granted_ms.append(wait_ms)
        try:
            if wait_ms or self.is_slow:
                await self.let_go.wait()
        except asyncio.CancelledError:
            self.left_count += 1
            raise
        return [Submission(bytes(32), PENDING)]


WAITING = POST + b"Content-Length: 42\r\n\r\n" + b'{"transactions": ["00"], "wait_ms": 60000}'
UNDER_WAY = WAITING.replace(b"60000", b"    0")


def run_waiting(
    scenario: Callable[[WaitingNode, str], Awaitable[None]], *, per_route: int = REQUESTS
) -> None:
    async def whole() -> None:
        node = WaitingNode()
        async with serve(node) as url:
            await scenario(node, url)
            node.let_go.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "REQUESTS_PER_ROUTE_MAX", per_route)
        asyncio.run(asyncio.wait_for(whole(), PATIENCE_S))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


def test_whoever_waits_for_us_keeps_its_place_and_what_is_kept_is_answered_all_the_same() -> None:
    async def scenario(node: WaitingNode, url: str) -> None:
        node.is_slow = True
        waiting = [await connected(url, UNDER_WAY) for _ in range(REQUESTS)]
        await until(lambda: len(node.granted_ms) == REQUESTS)
        async with fresh() as session:
            status, answer = await ask(session, "GET", url + "/v1/genesis")
            assert (status, check_refusal(answer), answer["error"]["where"]) == (503, "busy", "requests")
            for path in ("/v1/health", "/v1/ready", "/v1/status"):
                assert (await ask(session, "GET", url + path))[0] == 200
            async with flooded(port_of(url), FLOODERS, HALF_HEADS):
                for path in ("/v1/health", "/v1/ready", "/v1/status") * 5:
                    assert (await ask(session, "GET", url + path))[0] == 200
        node.let_go.set()
        for reader, writer in waiting:
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()

    run_waiting(scenario)


def test_a_request_takes_the_place_of_one_whose_body_is_late() -> None:
    async def scenario(node: WaitingNode, url: str) -> None:
        node.is_slow = True
        waiting = [await connected(url, UNDER_WAY) for _ in range(REQUESTS - 1)]
        await until(lambda: len(node.granted_ms) == REQUESTS - 1)
        late = await connected(url, HALF_BODIES.beginning)
        await until(lambda: served["api"]._listener._places.requests_count == REQUESTS)
        async with fresh() as session:
            assert (await ask(session, "GET", url + "/v1/genesis"))[0] == 200
        assert await is_cut_off(late[0])
        for _, writer in (*waiting, late):
            writer.close()

    served: dict[str, Api] = {}
    with keep_api(served):
        run_waiting(scenario)


@contextlib.contextmanager
def keep_api(served: dict[str, Api]) -> Iterator[None]:
    """Keep the Api that is made meanwhile."""
    made = Api.__init__

    def keeping(self: Api, *arguments: object, **named: object) -> None:
        made(self, *arguments, **named)  # type: ignore[arg-type]
        served["api"] = self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Api, "__init__", keeping)
        yield


def test_one_route_leaves_places_to_the_others() -> None:
    async def scenario(node: WaitingNode, url: str) -> None:
        node.is_slow = True
        waiting = [await connected(url, UNDER_WAY) for _ in range(PER_ROUTE)]
        await until(lambda: len(node.granted_ms) == PER_ROUTE)
        async with fresh() as session:
            status, answer = await ask(session, "POST", url + "/v1/transactions", SUBMISSION, JSON)
            assert (status, check_refusal(answer)) == (503, "busy")
            assert "POST /v1/transactions" in answer["error"]["expected"]
            assert (await ask(session, "GET", url + "/v1/genesis"))[0] == 200
        for _, writer in waiting:
            writer.close()

    run_waiting(scenario, per_route=PER_ROUTE)


def test_nobody_works_on_for_a_client_that_left() -> None:
    async def scenario(node: WaitingNode, url: str) -> None:
        node.is_slow = True
        waiting = [await connected(url, UNDER_WAY) for _ in range(REQUESTS)]
        await until(lambda: len(node.granted_ms) == REQUESTS)
        for _, writer in waiting:
            writer.transport.abort()
        await until(lambda: node.left_count == REQUESTS)
        async with fresh() as session:
            assert (await ask(session, "GET", url + "/v1/genesis"))[0] == 200

    run_waiting(scenario)


def test_waiting_for_finality_takes_no_places_from_requests_and_one_more_is_answered_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submissions, "WAITS_MAX", REQUESTS)

    async def scenario(node: WaitingNode, url: str) -> None:
        waiting = [await connected(url, WAITING) for _ in range(REQUESTS)]
        await until(lambda: len(node.granted_ms) == REQUESTS)
        async with fresh() as session:
            body = json.dumps({"transactions": ["00"], "wait_ms": 60_000}).encode()
            status, answer = await ask(session, "POST", url + "/v1/transactions", body, JSON)
            assert (status, answer["results"][0]["state"], node.granted_ms[-1]) == (200, PENDING, 0)
            assert (await ask(session, "GET", url + "/v1/genesis"))[0] == 200
        for _, writer in waiting:
            writer.close()
        await until(lambda: node.left_count == REQUESTS)
        again = await connected(url, WAITING)
        await until(lambda: node.granted_ms[-1] == 60_000)
        again[1].close()

    run_waiting(scenario)


def test_bodies_that_wait_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "WAITS_SIZE_MAX", 200_000)

    async def scenario(node: WaitingNode, url: str) -> None:
        body = b'{"transactions": ["00"], "wait_ms": 60000}' + b" " * 99_958
        head = POST + b"Content-Length: 100000\r\n\r\n"
        waiting = [await connected(url, head + body) for _ in range(3)]
        await until(lambda: len(node.granted_ms) == 3)
        assert node.granted_ms == [60_000, 60_000, 0]
        for _, writer in waiting:
            writer.close()

    run_waiting(scenario)


# -- large bodies -------------------------------------------------------------------------------------------


def test_a_large_body_takes_the_room_of_one_that_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODIES_SIZE_MAX", 300_000)

    async def scenario(node: MemoryNode, url: str) -> None:
        head = POST + b"Content-Length: 100000\r\n\r\n"
        large = SUBMISSION.encode() + b" " * (100_000 - len(SUBMISSION))
        first = await connected(url, head + large[:70_000])
        bodies_pool = served["api"]._bodies._pool
        await until(lambda: bodies_pool.count == 1)
        slow = [first, *[await connected(url, head + large[:70_000]) for _ in range(2)]]
        await until(lambda: bodies_pool.count == 3)
        announcing = [await connected(url, head + large[:100]) for _ in range(8)]
        async with fresh() as session:
            for _ in range(3):
                assert (await ask(session, "POST", url + "/v1/transactions", large, JSON))[0] == 200
        answer = await first[0].read()
        assert answer.startswith(b"HTTP/1.1 503"), "the one that is furthest behind, and it is told"
        assert check_refusal(json.loads(answer.partition(b"\r\n\r\n")[2])) == "busy"
        assert bodies_pool.count == 2, "the rest went on"
        assert node.registry.get_sample_value("luohu_displaced_total", {"pool": bodies.BODIES}) == 1
        for (reader, writer), sent_size in (*((each, 70_000) for each in slow[1:]), (announcing[0], 100)):
            writer.write(large[sent_size:])
            assert b"200" in await reader.readuntil(b"\r\n")
        for _, writer in (*slow, *announcing):
            writer.close()

    served: dict[str, Api] = {}
    with keep_api(served):
        run(scenario)


def test_one_that_leaves_in_the_moment_in_which_room_is_free_takes_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bodies, "BODIES_SIZE_MAX", 100_000)
    monkeypatch.setattr(submissions, "WAITS_SIZE_MAX", 100_000)

    async def scenario(node: WaitingNode, url: str) -> None:
        body = b'{"transactions": ["00"], "wait_ms": 60000}' + b" " * 99_958
        bodies_pool = served["api"]._bodies._pool
        sent = []
        for count in range(1, 4):
            sent.append(await connected(url, POST + b"Content-Length: 100000\r\n\r\n" + body))
            await until(lambda count=count: bodies_pool.count + len(bodies_pool._waiting) == count)  # type: ignore[misc]
        # Both in one round of the loop: the second's coroutine is ended, and has not noticed.
        bodies_pool._waiting[0].granted.cancel()
        bodies_pool.leave(next(iter(bodies_pool._sizes)))
        await until(lambda: len(node.granted_ms) == 2)
        assert not bodies_pool._waiting
        for _, writer in sent:
            writer.close()
        await until(lambda: bodies_pool.count == 0)

    served: dict[str, Api] = {}
    with keep_api(served):
        run_waiting(scenario)
    assert "failure" not in caplog.text and "Traceback" not in caplog.text


def test_large_bodies_wait_for_room_in_the_order_in_which_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODIES_SIZE_MAX", 100_000)
    monkeypatch.setattr(bodies, "WAITING_MAX", 2)
    monkeypatch.setattr(submissions, "WAITS_SIZE_MAX", 100_000)

    async def scenario(node: WaitingNode, url: str) -> None:
        head = POST + b"Content-Length: 100000\r\n\r\n"
        body = b'{"transactions": ["00"], "wait_ms": 60000}' + b" " * 99_958
        bodies_pool = served["api"]._bodies._pool
        sent = []
        for count in range(1, 4):
            sent.append(await connected(url, head + body))
            await until(lambda count=count: bodies_pool.count + len(bodies_pool._waiting) == count)  # type: ignore[misc]
        async with fresh() as session:
            status, answer = await ask(session, "POST", url + "/v1/transactions", body, JSON)
            assert (status, check_refusal(answer)) == (503, "busy"), "no more may wait"
        # One that leaves is not waited for, and gives its turn on.
        sent[1][1].transport.abort()
        await until(lambda: len(bodies_pool._waiting) == 1)
        assert len(node.granted_ms) == 1
        sent[0][1].transport.abort()
        await until(lambda: len(node.granted_ms) == 2)
        node.let_go.set()
        assert (await sent[2][0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        await until(lambda: bodies_pool.count == 0)
        sent[2][1].close()

    served: dict[str, Api] = {}
    with keep_api(served):
        run_waiting(scenario)


def test_a_large_body_that_is_whole_keeps_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODIES_SIZE_MAX", 200_000)
    monkeypatch.setattr(submissions, "WAITS_SIZE_MAX", 200_000)
    monkeypatch.setattr(pool, "WAIT_S", 0.2)

    async def scenario(node: WaitingNode, url: str) -> None:
        body = b'{"transactions": ["00"], "wait_ms": 60000}' + b" " * 99_958
        head = POST + b"Content-Length: 100000\r\n\r\n"
        waiting = [await connected(url, head + body) for _ in range(2)]
        await until(lambda: len(node.granted_ms) == 2)
        async with fresh() as session:
            large = SUBMISSION.encode() + b" " * 99_000
            status, answer = await ask(session, "POST", url + "/v1/transactions", large, JSON)
            assert (status, check_refusal(answer), answer["error"]["where"]) == (503, "busy", "body")
            small = SUBMISSION.encode() + b" " * (bodies.SMALL_SIZE - len(SUBMISSION))
            assert (await ask(session, "POST", url + "/v1/transactions", small, JSON))[0] == 200
            status, _ = await ask(session, "POST", url + "/v1/transactions", small + b" ", JSON)
            assert status == 503, "one byte more needs room"
        node.let_go.set()
        for reader, writer in waiting:
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()

    run_waiting(scenario)


# -- deadlines ----------------------------------------------------------------------------------------------


def test_a_head_has_a_time_from_its_first_byte_however_it_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.2)

    async def scenario(_node: MemoryNode, url: str) -> None:
        async def drip(writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"a")
                    await writer.drain()
                    await asyncio.sleep(0.01)

        # At first, and behind an answer.
        for before in (b"", HEAD + b"\r\n"):
            reader, writer = await connected(url, before)
            if before:
                await reader.readuntil(b'"up"}')
            writer.write(HEAD + b"X: ")
            dripping = asyncio.create_task(drip(writer))
            assert await is_cut_off(reader)
            await dripping
            writer.close()
        # None of these is cut off: one that says nothing yet, an empty line, and one that is whole.
        silent, lines, answered = [await connected(url, said) for said in (b"", b"\r\n", HEAD + b"\r\n")]
        await answered[0].readuntil(b'"up"}')
        await asyncio.sleep(0.5)
        for reader, writer in (silent, lines, answered):
            writer.write(HEAD + b"\r\n")
            assert b"200" in await reader.readuntil(b"\r\n")
            writer.close()

    run(scenario)


def test_a_body_has_a_time_however_it_drips_and_a_shorter_one_where_it_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(_node: MemoryNode, url: str) -> None:
        for whole_s, stall_s in ((0.3, 60.0), (60.0, 0.3)):
            monkeypatch.setattr(routes, "BODY_S", whole_s)
            monkeypatch.setattr(routes, "BODY_STALL_S", stall_s)
            reader, writer = await connected(url, HALF_BODIES.beginning)

            async def drip(writer: asyncio.StreamWriter = writer) -> None:
                with contextlib.suppress(ConnectionError):
                    while True:
                        writer.write(b" ")
                        await writer.drain()
                        await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            answer = await reader.readuntil(b"}}")
            assert answer.startswith(b"HTTP/1.1 408"), "a byte now and then buys no time"
            assert check_refusal(json.loads(answer.partition(b"\r\n\r\n")[2])) == "timeout"
            writer.close()
            dripping.cancel()

    run(scenario)


def test_a_head_of_any_form_has_a_largest_size() -> None:
    async def scenario(_node: MemoryNode, url: str) -> None:
        line = b"X: " + b"a" * 8_000 + b"\r\n"
        fits = line * (connection.HEAD_SIZE_MAX // len(line) - 1)
        reader, writer = await connected(url)
        for part in (HEAD, fits, b"Connection: close\r\n\r\n"):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        reader, writer = await connected(url, HEAD + fits)
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                await asyncio.sleep(0.002)
                writer.write(line)
                await writer.drain()
        assert await is_cut_off(reader)
        writer.close()

    run(scenario)


def test_a_body_is_no_head_however_long_it_is_and_however_late_it_is_read() -> None:
    async def scenario(_node: MemoryNode, url: str) -> None:
        body = SUBMISSION.encode() + b" " * 500_000
        request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        # Both in one go, and one that no route takes: its body is thrown away.
        nowhere = request.replace(b"/v1/transactions", b"/v1/nowhere_at_all")
        for said, statuses in ((request * 3, [200, 200, 200]), (nowhere, [404])):
            reader, writer = await connected(url, said)
            for status in statuses:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 %d" % status)
                size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(size)
            writer.close()

    run(scenario)


# -- answers that nobody reads ------------------------------------------------------------------------------


def test_answers_that_nobody_reads_take_no_more_than_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "UNREAD_SIZE_MAX", 1_000_000)
    served: dict[str, Api] = {}

    async def scenario(node: MemoryNode, url: str) -> None:
        manner = Manner(UNREAD.beginning * 60, is_reading=False)
        async with flooded(port_of(url), 20, manner), fresh() as session:
            cut_off_count = 0
            while cut_off_count < 10:
                async with session.get(url + "/v1/genesis") as response:
                    assert response.status == 200 and await response.read()
                held = served["api"]._listener._places._placed
                assert sum(each.unread_size for each in held) <= 1_000_000
                found = node.registry.get_sample_value("luohu_displaced_total", {"pool": places.UNREAD})
                cut_off_count = int(found or 0)

    with keep_api(served):
        run(scenario, blocks_count=24)


# -- subscribers --------------------------------------------------------------------------------------------


def test_one_more_subscriber_takes_the_place_of_the_one_that_has_read_for_longest() -> None:
    async def scenario(node: MemoryNode, url: str) -> None:
        async with fresh() as session:
            responses = [await session.get(f"{url}/v1/events") for _ in range(SUBSCRIBERS)]
            assert await read_events(session, f"{url}/v1/events?from=0", 2) == ["1.0", "1.1"]
            await asyncio.wait_for(responses[0].read(), PATIENCE_S)
            assert not any(response.content.at_eof() for response in responses[1:])
            await wait_for_metric(session, url, 'luohu_displaced_total{pool="subscribers"} 1.0')
            for response in responses:
                response.close()

    run(scenario)


def test_a_subscriber_that_does_not_read_goes_before_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SUBSCRIBERS_MAX", 2)
    one = events.block_events
    monkeypatch.setattr(
        events, "block_events", lambda block: (event for _ in range(200) for event in one(block))
    )

    async def scenario(_node: MemoryNode, url: str) -> None:
        async with fresh() as session:
            first = await session.get(f"{url}/v1/events")
            with socket.socket() as lazy:
                lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                lazy.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(lazy, ("127.0.0.1", port_of(url)))
                await loop.sock_sendall(lazy, b"GET /v1/events?from=0 HTTP/1.1\r\n" + HOST + b"\r\n")
                await wait_for_metric(session, url, "luohu_event_subscribers 2.0")
                # What it does not read fills the buffers on its way.
                await asyncio.sleep(0.3)
                third = await session.get(f"{url}/v1/events")
                await wait_for_metric(session, url, 'luohu_displaced_total{pool="subscribers"} 1.0')
                assert not first.content.at_eof() and not third.content.at_eof()
                first.close()
                third.close()

    run(scenario)


# -- the loop's own ways ------------------------------------------------------------------------------------


def test_a_loop_that_cannot_wait_for_a_listening_socket_looks_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_arguments: object) -> None:
        raise NotImplementedError

    async def scenario(_node: MemoryNode, url: str) -> None:
        async with fresh() as session:
            for _ in range(3):
                assert (await ask(session, "GET", url + "/v1/health"))[0] == 200

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "add_reader", cannot)
        async with serve(MemoryNode()) as url:
            await scenario(MemoryNode(), url)

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_S))


def test_where_descriptors_run_out_the_one_that_is_furthest_behind_gives_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from node.api import loopback

    monkeypatch.setattr(loopback, "ACCEPT_RETRY_S", 0.01)
    accept, failures = socket.socket.accept, [OSError(24, "Too many open files")]

    def failing(self: socket.socket) -> tuple[socket.socket, object]:
        accepted = accept(self)
        if opened and failures:
            accepted[0].close()
            raise failures.pop()
        return accepted

    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def scenario(_node: MemoryNode, url: str) -> None:
        held = await connected(url, HEAD)
        async with fresh() as session:
            assert (await ask(session, "GET", url + "/v1/health"))[0] == 200
            opened.append(held)
            with contextlib.suppress(aiohttp.ClientError):
                await ask(session, "GET", url + "/v1/health")
            assert await is_cut_off(held[0])
            assert (await ask(session, "GET", url + "/v1/health"))[0] == 200
        held[1].close()

    monkeypatch.setattr(socket.socket, "accept", failing)
    run(scenario)
