"""The listener loses no socket, whenever it is ended."""

import asyncio
import gc
import socket
from contextlib import suppress

import pytest
from aiohttp import web

from node.network.limits import Timing
from node.network.listener import Listener
from node.network.tls import make_identity, make_server_context

LOOPBACK = "127.0.0.1"


async def serve(_socket: web.WebSocketResponse, _request: web.BaseRequest) -> None:
    raise AssertionError("nobody gets so far")


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_comes_as_the_listener_ends_is_closed(turns: int) -> None:
    async def scenario() -> None:
        listener = Listener(
            serve,
            make_socket=web.WebSocketResponse,
            is_pinned=lambda _certificate: False,
            context=make_server_context(make_identity("bank"), ()),
            timing=Timing(),
        )
        port = listener.bind(LOOPBACK, 0)
        accepting = asyncio.ensure_future(listener.accept_forever())
        await asyncio.sleep(0.01)
        with socket.create_connection((LOOPBACK, port)) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            accepting.cancel()
            with suppress(asyncio.CancelledError):
                await accepting
            await listener.close()
            client.setblocking(False)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 5) == b""

    asyncio.run(scenario())
    # A socket that nobody closed warns when it is collected, and a warning is an error here.
    gc.collect()
