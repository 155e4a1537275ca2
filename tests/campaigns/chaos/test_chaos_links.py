"""The links of the chaos runs: they carry, stall, slow down, break and heal, each lane by itself."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.campaigns.chaos.links import LOOPBACK, Links, lanes_between, lanes_of


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1024):
            writer.write(data.upper())
            await writer.drain()
    except OSError:
        return
    finally:
        await close(writer)


@asynccontextmanager
async def linked() -> AsyncIterator[Links]:
    servers = [await asyncio.start_server(_echo, LOOPBACK, 0) for _ in range(2)]
    ports = {name: server.sockets[0].getsockname()[1] for name, server in zip("ab", servers, strict=True)}
    links = Links(ports, random.Random(1))
    links.open()
    try:
        yield links
    finally:
        await links.close()
        for server in servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 5)


async def dial(links: Links) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(LOOPBACK, links.addresses["a", "b"])


async def answer(reader: asyncio.StreamReader, seconds: float = 5.0) -> bytes:
    return await asyncio.wait_for(reader.read(1024), seconds)


def test_a_stalled_lane_delivers_nothing_and_loses_nothing() -> None:
    async def live() -> None:
        async with linked() as links:
            reader, writer = await dial(links)
            writer.write(b"one")
            assert await answer(reader) == b"ONE"
            for lane in (("a", "b"), ("b", "a")):
                links.stall([lane])
                writer.write(b"two")
                waiting = asyncio.ensure_future(reader.read(1024))
                done, _ = await asyncio.wait([waiting], timeout=0.1)
                assert not done
                links.heal([lane])
                assert await asyncio.wait_for(waiting, 5) == b"TWO"
            await close(writer)

    asyncio.run(live())


def test_a_cut_pair_ends_and_refuses_until_it_is_healed() -> None:
    async def live() -> None:
        async with linked() as links:
            reader, writer = await dial(links)
            links.cut([("b", "a")])
            with suppress(ConnectionResetError):
                assert await answer(reader) == b""
            await close(writer)
            reader, writer = await dial(links)
            with suppress(ConnectionResetError):
                assert await answer(reader) == b""
            await close(writer)
            links.heal([("a", "b")])
            reader, writer = await dial(links)
            writer.write(b"back")
            assert await answer(reader) == b"BACK"
            await close(writer)

    asyncio.run(live())


def test_a_slow_lane_delays() -> None:
    async def live() -> None:
        async with linked() as links:
            reader, writer = await dial(links)
            links.slow([("a", "b")], delay_ms=80)
            before = asyncio.get_running_loop().time()
            writer.write(b"slow")
            assert await answer(reader) == b"SLOW"
            assert asyncio.get_running_loop().time() - before >= 0.08
            await close(writer)

    asyncio.run(live())


def test_lanes_are_named_in_both_directions() -> None:
    assert sorted(lanes_of("a", "abc")) == [("a", "b"), ("a", "c"), ("b", "a"), ("c", "a")]
    assert sorted(lanes_between("a", "bc")) == [("a", "b"), ("a", "c"), ("b", "a"), ("c", "a")]
