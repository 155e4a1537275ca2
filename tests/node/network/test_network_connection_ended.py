"""What is asked of a connection that ended meanwhile is answered by nothing, not by a failure of ours."""

import asyncio
import socket

import pytest

from node.network.connection import of_socket
from node.network.pathsize import has_small_segments
from node.network.tls import make_client_context, make_identity, make_server_context

LOOPBACK = "127.0.0.1"
BANK, BUREAU = make_identity("bank"), make_identity("bureau")


@pytest.mark.parametrize("closings", range(4))
def test_a_tls_connection_that_was_closed_several_times_is_asked_what_it_was(closings: int) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def scenario() -> None:
        accepting = make_server_context(BANK, [BUREAU.certificate])
        server = await asyncio.start_server(answer, LOOPBACK, 0, ssl=accepting)
        port = server.sockets[0].getsockname()[1]
        context = make_client_context(BUREAU, [BANK.certificate])
        _, writer = await asyncio.open_connection(LOOPBACK, port, ssl=context)
        transport = writer.transport
        assert of_socket(transport, "ssl_object").getpeercert(binary_form=True) == BANK.certificate
        for _ in range(closings):
            transport.close()
        assert closings > 0 or of_socket(transport, "socket") is not None
        has_small_segments(of_socket(transport, "socket"))
        if of_socket(transport, "ssl_object") is None:
            assert closings >= 2, "what is open is known"
            with pytest.raises(AttributeError):
                transport.get_extra_info("ssl_object")
        transport.abort()
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


def test_a_closed_socket_has_no_small_segments() -> None:
    closed = socket.socket()
    closed.close()
    assert not has_small_segments(asyncio.trsock.TransportSocket(closed))
    assert not has_small_segments(None)
