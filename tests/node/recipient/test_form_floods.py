"""Forms that never end take no place for good: an honest one is verified while a flood of them lasts."""

import asyncio
import contextlib
import io
import json
import random
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
import pytest

from ledger.proofs import PROOF_MAGIC
from node.api import connection
from node.recipient import forms, service
from node.recipient.forms import LARGE_SIZE
from node.recipient.service import RecipientService
from tests.node.recipient.test_service import (
    FixedClock,
    check_fault,
    form_of,
    named,
    pair_of,
    parts_of,
    post,
    raw,
)
from tests.support.machine import PATIENCE_S
from tests.support.slowclients import Manner, flooded
from tests.support.story import Story, tell

FORMS = 8
FLOODERS = 24
CALLS = 6
HEAD = b"POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
ENDLESS = HEAD + b"Content-Length: 1000000000\r\n\r\n"
BEGUN = f"--b\r\n{named('document')}\r\n\r\n".encode()


def bomb(size: int) -> bytes:
    """Return a whole call whose bundle is 1/150 of what it unpacks to, within what a bundle may be."""
    document = random.Random(1).randbytes(size // 170) + bytes(size)
    bundle = pair_of(("a.txt", document), ("a.txt.proof", PROOF_MAGIC + b"none"))
    assert not LARGE_SIZE < len(bundle) < 2 * LARGE_SIZE, "clearly small, or clearly large"
    body = raw((named("pair"), bundle), (named("request"), b"r"))
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


FLOODS: dict[str, Callable[[], tuple[Manner, ...]]] = {
    "a byte now and then": lambda: (Manner(ENDLESS + BEGUN, b"x"),),
    "nothing more": lambda: (Manner(ENDLESS + BEGUN),),
    "no part at all": lambda: (Manner(ENDLESS),),
    "half heads": lambda: (Manner(HEAD),),
    "half heads and half forms": lambda: (Manner(HEAD), Manner(ENDLESS + BEGUN, b"x"), Manner(HEAD, b"a")),
    "parts that stop": lambda: (Manner(ENDLESS + BEGUN + bytes(200_000), b"x"),),
    "large parts that stop": lambda: (Manner(ENDLESS + BEGUN + bytes(2_000_000), b"x"),),
    "large proofs that stop": lambda: (
        Manner(ENDLESS + f"--b\r\n{named('proof')}\r\n\r\n".encode() + bytes(900_000)),
    ),
    "large bundles that stop": lambda: (
        Manner(ENDLESS + f"--b\r\n{named('pair')}\r\n\r\n".encode() + bytes(3_000_000)),
    ),
    "small bombs": lambda: (Manner(bomb(40_000_000)),),
    "large bombs": lambda: (Manner(bomb(350_000_000)),),
}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = tell(tmp_path_factory.mktemp("story"))
    yield told
    told.world.close()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bounds that few clients fill."""
    monkeypatch.setattr(service, "FORMS_MAX", FORMS)
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 2 * FORMS + 4)


def run(story: Story, scenario: Callable[[RecipientService, int], Awaitable[None]]) -> None:
    async def whole() -> None:
        served = RecipientService(story.trust, clock=FixedClock(story.now_ms))
        port = await served.start("127.0.0.1", 0)
        try:
            await scenario(served, port)
        finally:
            await served.close()

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_S))


async def call_everything(story: Story, port: int) -> dict[str, int]:
    """Ask what must be answered, each so many times; return how many of each were."""
    answered: dict[str, int] = {}
    bundle = pair_of(("a.txt", story.document), ("a.txt.proof", story.proof.encode()))
    url = f"http://127.0.0.1:{port}"
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(CALLS):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url + "/v1/health") as response:
                    answered["health"] = answered.get("health", 0) + (response.status == 200)
            for name, changes, verdict in (
                ("plain", {}, 200),
                ("bundle", {"document": None, "proof": None, "pair": bundle}, 200),
                ("large", {"document": io.BytesIO(bytes(5_000_000))}, 422),
            ):
                with contextlib.suppress(aiohttp.ClientError):
                    parts = form_of(parts_of(story, **changes))
                    status, _ = await post(session, url + "/v1/verify", parts)
                    answered[name] = answered.get(name, 0) + (status == verdict)
    return answered


ALL_ANSWERED = dict.fromkeys(("health", "plain", "bundle", "large"), CALLS)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
def test_an_honest_form_is_verified_while_a_flood_lasts(
    story: Story, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(_served: RecipientService, port: int) -> None:
        async with flooded(port, FLOODERS, *FLOODS[name]()):
            assert await call_everything(story, port) == ALL_ANSWERED
        assert await call_everything(story, port) == ALL_ANSWERED

    run(story, scenario)
    assert "failure" not in caplog.text and "Traceback" not in caplog.text


@pytest.mark.slow
def test_the_flood_of_the_field_at_its_own_size(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    # As it came: 32 forms that send a byte in four seconds; and as many as there are places besides.
    monkeypatch.undo()

    async def scenario(_served: RecipientService, port: int) -> None:
        for count in (32, 2 * forms.FORMS_MAX):
            async with flooded(port, count, Manner(ENDLESS + BEGUN, b"x", pause_s=4.0)):
                assert await call_everything(story, port) == ALL_ANSWERED

    run(story, scenario)


def test_the_form_that_is_furthest_behind_is_told_that_it_lost_its_place(story: Story) -> None:
    async def scenario(served: RecipientService, port: int) -> None:
        held = []
        for _ in range(FORMS // 2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ENDLESS + BEGUN + bytes(forms.SMALL_SIZE))
            held.append((reader, writer))
            while served._forms._middle.count < len(held):
                await asyncio.sleep(0.001)
        assert await call_everything(story, port) == ALL_ANSWERED
        head, _, body = (await held[0][0].read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503") and check_fault(json.loads(body)) == "busy"
        assert served.forms_count == FORMS // 2 - 1, "none but the first went"
        for _, writer in held:
            writer.close()

    run(story, scenario)


def test_large_forms_take_places_from_large_ones_alone(story: Story) -> None:
    large = bytes(forms.LARGE_SIZE + 1)

    async def scenario(served: RecipientService, port: int) -> None:
        small = await asyncio.open_connection("127.0.0.1", port)
        small[1].write(ENDLESS + BEGUN + bytes(forms.SMALL_SIZE))
        while served._forms._middle.count < 1:
            await asyncio.sleep(0.001)
        held = []
        for _ in range(FORMS // 2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ENDLESS + BEGUN + large)
            await writer.drain()
            held.append((reader, writer))
            while sum(place.is_large for place in served._forms._placed.values()) < len(held):
                await asyncio.sleep(0.001)
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/v1/verify"
            status, _ = await post(session, url, form_of(parts_of(story, document=io.BytesIO(large))))
            assert status == 422
        head, _, body = (await held[0][0].read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503") and check_fault(json.loads(body)) == "busy"
        assert served.forms_count == FORMS // 2, "none but the first went, and the small one is older"
        for _, writer in (small, *held):
            writer.close()

    run(story, scenario)


def test_what_forms_hold_is_bounded_and_a_document_is_not_held(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "HELD_SIZE_MAX", 9_000_000)
    most = 0

    async def scenario(served: RecipientService, port: int) -> None:
        nonlocal most
        begun = ENDLESS + f"--b\r\n{named('pair')}\r\n\r\n".encode() + bytes(3_500_000)
        async with flooded(port, 4, Manner(begun)):
            for _ in range(30):
                assert served._forms.held_size <= 9_000_000
                most = max(most, served._forms.held_size)
                await asyncio.sleep(0.005)
            assert await call_everything(story, port) == ALL_ANSWERED
        async with flooded(port, 4, Manner(ENDLESS + BEGUN + bytes(3_500_000))):
            for _ in range(30):
                assert served._forms.held_size < 300_000
                await asyncio.sleep(0.005)

    run(story, scenario)
    assert most > 3_000_000


def test_unpacking_has_a_time_of_its_own(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "UNPACK_S", 0.05)

    async def scenario(_served: RecipientService, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bomb(400_000_000))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408") and check_fault(json.loads(body)) == "timeout"
        writer.close()

    run(story, scenario)


def test_of_bundles_that_are_unpacked_at_once_the_one_that_unpacked_most_goes(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "UNPACKING_MAX", 2)

    async def scenario(served: RecipientService, port: int) -> None:
        async def send(call: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(call)
            return reader, writer

        async def status(reader: asyncio.StreamReader) -> bytes:
            return (await reader.readuntil(b"\r\n"))[9:12]

        most = await send(bomb(150_000_000))
        while not any(place.unpacked_size for place in served._forms._unpacking):
            await asyncio.sleep(0)
        second = await send(bomb(140_000_000))
        while len(served._forms._unpacking) < 2:
            await asyncio.sleep(0)
        bundle = pair_of(("a.txt", story.document), ("a.txt.proof", story.proof.encode()))
        async with aiohttp.ClientSession() as session:
            parts = form_of(parts_of(story, document=None, proof=None, pair=bundle))
            assert (await post(session, f"http://127.0.0.1:{port}/v1/verify", parts))[0] == 200
        assert await status(most[0]) == b"503"
        assert await status(second[0]) == b"400", "it is unpacked to its end, and its request is none"
        for _, writer in (most, second):
            writer.close()

    run(story, scenario)
