"""The route of text bundles: the very bytes, for good under their hash; slow readers take no other route's places."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from ledger.encoding.digests import digest
from node.api import routes, texts
from node.consent.textbundle import TEXTS_SIZE_MAX, PackedTexts
from node.consent.textfolder import HeldTexts, sample_texts
from tests.support.memory_node import MemoryNode, serve
from tests.support.texts import with_party

SAMPLES = sample_texts()
COUNTED = 'luohu_requests_total{code="",route="GET /v1/texts/{hash}",status="200"} 1.0'
VERSION = SAMPLES.bundle.notices[0].version


def run(scenario: Callable[[str, aiohttp.ClientSession], Awaitable[None]], *bundles: PackedTexts) -> None:
    async def whole() -> None:
        async with serve(MemoryNode(texts=HeldTexts(bundles))) as url, aiohttp.ClientSession() as session:
            await scenario(url, session)

    asyncio.run(asyncio.wait_for(whole(), 60))


def large_texts() -> PackedTexts:
    """Return more than any socket takes at once: the system takes the largest real bundle, and its reader's time."""
    content = bytes(16 * TEXTS_SIZE_MAX)
    return PackedTexts(SAMPLES.bundle, content, digest(content))


def test_a_bundle_is_served_as_it_is_and_for_good_under_its_hash() -> None:
    async def scenario(url: str, session: aiohttp.ClientSession) -> None:
        async with session.get(f"{url}/v1/texts/{SAMPLES.hash.hex()}") as response:
            content = await response.read()
            assert response.status == 200 and content == SAMPLES.encoded and digest(content) == SAMPLES.hash
            assert response.headers["Content-Type"] == "application/octet-stream"
            assert "immutable" in response.headers["Cache-Control"]
        async with session.get(f"{url}/v1/texts/{VERSION.hex()}") as response:
            assert await response.read() == SAMPLES.encoded
            assert response.headers["Cache-Control"] == "no-cache", (
                "another bundle may have the notice tomorrow"
            )

    run(scenario, SAMPLES)


def test_what_is_not_here_is_refused_and_no_cache_keeps_that_for_good() -> None:
    async def scenario(url: str, session: aiohttp.ClientSession) -> None:
        for wanted in (with_party(SAMPLES, "hk-clinic").hash, bytes(32)):
            async with session.get(f"{url}/v1/texts/{wanted.hex()}") as response:
                error = (await response.json())["error"]
                assert (response.status, error["code"], error["found"]) == (404, "unknown", "none here")
                assert "Cache-Control" not in response.headers

    run(scenario, SAMPLES)


def test_the_description_has_the_route() -> None:
    async def scenario(url: str, session: aiohttp.ClientSession) -> None:
        async with session.get(f"{url}/v1/openapi.json") as response:
            described = (await response.json())["paths"]["/v1/texts/{hash}"]["get"]
        assert [each["name"] for each in described["parameters"]] == ["hash"]
        assert [*described["responses"]["200"]["content"]] == [texts.MEDIA_TYPE]

    run(scenario)


async def begin(url: str, path: str) -> socket.socket:
    """Ask for something as a client that reads nothing of the answer."""
    port = int(url.rpartition(":")[2])
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    reader.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(reader, ("127.0.0.1", port))
    await loop.sock_sendall(reader, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await loop.sock_recv(reader, 1)
    return reader


def test_slow_readers_take_places_of_texts_alone_and_the_slowest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places_count = 4
    monkeypatch.setattr(routes, "SENDING_MAX", places_count)
    packed = large_texts()
    path = f"/v1/texts/{packed.hash.hex()}"

    async def scenario(url: str, session: aiohttp.ClientSession) -> None:
        slow = [await begin(url, path) for _ in range(3 * places_count)]
        try:
            async with session.get(url + path) as response:
                assert await response.read() == packed.encoded
            async with session.get(f"{url}/v1/genesis") as response:
                assert response.status == 200
            async with session.get(f"{url}/metrics") as response:
                told = await response.text()
            displaced = float(told.partition('luohu_displaced_total{pool="requests"} ')[2].splitlines()[0])
            assert displaced >= 2 * places_count
        finally:
            for reader in slow:
                reader.close()

    run(scenario, packed)


def test_a_reader_that_takes_too_long_is_cut_off_and_told_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(texts, "SEND_S", 0.2)
    packed = large_texts()

    async def scenario(url: str, session: aiohttp.ClientSession) -> None:
        reader = await begin(url, f"/v1/texts/{packed.hash.hex()}")
        loop, received = asyncio.get_running_loop(), b""
        while COUNTED not in await (await session.get(f"{url}/metrics")).text():
            # It is counted once it is cut off.
            pass
        try:
            while piece := await loop.sock_recv(reader, 65_536):
                received += piece
        except ConnectionError:
            pass
        finally:
            reader.close()
        assert b'"error"' not in received and len(received) < len(packed.encoded)
        async with session.get(f"{url}/v1/texts/{packed.hash.hex()}") as response:
            assert await response.read() == packed.encoded

    run(scenario, packed)
