"""The listener loses no socket, whenever it is ended."""

import asyncio
import gc
import logging
import socket
from contextlib import suppress

import pytest
from aiohttp import ClientConnectionResetError, ClientError, web
from aiohttp.abc import AbstractStreamWriter

from node.network.dialer import make_session
from node.network.limits import Timing
from node.network.listener import PEER_PATH, Listener
from node.network.tls import make_client_context, make_identity, make_server_context

LOOPBACK = "127.0.0.1"


BANK, BUREAU = make_identity("bank"), make_identity("bureau")


class LeftSocket(web.WebSocketResponse):
    """One whose peer is gone before it is answered: the first try fails, and there is nothing to prepare twice."""

    is_tried = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        if self.is_tried:
            # As aiohttp does: what failed to be prepared has no writer, whatever its type says.
            return None  # type: ignore[return-value]
        self.is_tried = True
        raise ClientConnectionResetError("Cannot write to closing transport")


async def serve(_socket: web.WebSocketResponse, _request: web.BaseRequest) -> None:
    raise AssertionError("nobody gets so far")


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_comes_as_the_listener_ends_is_closed(turns: int) -> None:
    async def scenario() -> None:
        listener = Listener(
            serve,
            make_socket=web.WebSocketResponse,
            is_pinned=lambda _certificate: False,
            context=make_server_context(BANK, ()),
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


def test_a_peer_that_leaves_before_it_is_answered_is_no_failure_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        listener = Listener(
            serve,
            make_socket=LeftSocket,
            is_pinned=lambda certificate: certificate == BUREAU.certificate,
            context=make_server_context(BANK, [BUREAU.certificate]),
            timing=Timing(),
        )
        port = listener.bind(LOOPBACK, 0)
        accepting = asyncio.ensure_future(listener.accept_forever())
        context = make_client_context(BUREAU, [BANK.certificate])
        async with make_session() as session:
            with pytest.raises(ClientError):
                await session.ws_connect(f"wss://{LOOPBACK}:{port}{PEER_PATH}", ssl=context)
        # What aiohttp does with the answer comes after the connection's end.
        await asyncio.sleep(0.05)
        accepting.cancel()
        await listener.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == []
    assert "peer.left" in caplog.text
