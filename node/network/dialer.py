"""The dialling side: one attempt to reach a peer, and how long to wait before the next.

Rule 1: nothing is sent before the certificate has been compared with the pin, except the HTTP upgrade.
Rule 2: the answer to the upgrade is not followed anywhere. A peer that redirects is refused, or it could
send this node to any address it likes.
"""

import asyncio
import random
import ssl

import aiohttp
from aiohttp import tracing

from node.network.connection import CLOSE_REFUSED, WebSocket, close_socket, describe_end, of_socket
from node.network.hello import HELLO_SIZE_MAX, Hello, HelloRefused, check_chain, decode_hello, encode_hello
from node.network.limits import MESSAGE_SIZE_MAX, Timing
from node.network.listener import FETCH_PATH, PEER_PATH
from node.network.pathsize import make_small_socket
from node.network.registry import Peer, split_address
from node.network.tls import PinMismatch, require_pinned


class DialFailed(Exception):
    """The peer could not be reached, or is not the one expected."""


class Unanswered(DialFailed):
    """Nobody answered in time."""


class HungUp(DialFailed):
    """Somebody took the connection and ended it in place of an answer, as one does who does not know who we are."""


class PinFailed(DialFailed):
    """Somebody answered, with another certificate than the pinned one."""


class Backoff:
    """Waits between attempts: none before the first, then doubling to a cap, less a random part."""

    def __init__(self, timing: Timing, source: random.Random) -> None:
        self._timing = timing
        self._source = source
        self._failures_count = 0

    def succeeded(self) -> None:
        """Forget the failures: the next attempt is immediate."""
        self._failures_count = 0

    def failed(self) -> None:
        """Note a failed attempt."""
        self._failures_count += 1

    def delay_s(self) -> float:
        """Return how long to wait before the next attempt."""
        if self._failures_count == 0:
            return 0.0
        # The exponent is capped as well: 2**1100 is no float.
        doubled = self._timing.backoff_first_s * 2.0 ** min(self._failures_count - 1, 32)
        return min(doubled, self._timing.backoff_max_s) * self._source.uniform(0.5, 1.0)


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: object, _params: tracing.TraceRequestRedirectParams
) -> None:
    raise DialFailed("expected a WebSocket, found a redirect")


def make_session(*, is_small: bool = False) -> aiohttp.ClientSession:
    """Return a client session that dials: no cookies, no proxies, no pool, no redirects.

    A small one makes connections with small segments (node/network/pathsize.py, rule 2).
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            force_close=True,
            use_dns_cache=False,
            socket_factory=make_small_socket if is_small else None,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[trace],
    )


async def dial(
    session: aiohttp.ClientSession,
    peer_id: str,
    peer: Peer,
    *,
    hello: Hello,
    context: ssl.SSLContext,
    timing: Timing,
) -> tuple[aiohttp.ClientWebSocketResponse, Hello]:
    """Connect to the peer and exchange hellos, or raise DialFailed."""
    try:
        async with asyncio.timeout(timing.dial_s):
            return await _connect(session, peer_id, peer, hello=hello, context=context, timing=timing)
    except TimeoutError as error:
        raise Unanswered(f"no answer within {timing.dial_s} s") from error
    except (PinMismatch, aiohttp.ClientConnectorCertificateError) as error:
        raise PinFailed(f"{type(error).__name__}: {error}") from error
    except (OSError, aiohttp.ClientError, HelloRefused) as error:
        raise _failure(error) from error


def _failure(error: Exception) -> DialFailed:
    # A connection that did not come about, its handshake included, is a ClientConnectorError; one that ended before
    # it was answered is not.
    is_unanswered = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    kind = HungUp if is_unanswered and not isinstance(error, aiohttp.ClientConnectorError) else DialFailed
    if isinstance(error, aiohttp.ClientConnectorError):
        # Its own text shows the TLS context, as an address in memory.
        error = error.os_error
    return kind(f"{type(error).__name__}: {error}")


async def dial_unpinned(
    session: aiohttp.ClientSession,
    peer_id: str,
    peer: Peer,
    *,
    hello: Hello,
    context: ssl.SSLContext,
    timing: Timing,
) -> tuple[aiohttp.ClientWebSocketResponse, Hello]:
    """Connect to whoever answers at a peer's address, with a context that pins nothing, or raise DialFailed.

    Nothing is known of the other side. It is for `node.network.fetching` alone.
    """
    try:
        async with asyncio.timeout(timing.dial_s):
            socket = await _open(session, peer, FETCH_PATH, context=context, timing=timing)
            return await _greet(socket, peer_id, hello=hello, timing=timing)
    except TimeoutError as error:
        raise Unanswered(f"no answer within {timing.dial_s} s") from error
    except (OSError, aiohttp.ClientError, HelloRefused) as error:
        raise _failure(error) from error


async def _connect(
    session: aiohttp.ClientSession,
    peer_id: str,
    peer: Peer,
    *,
    hello: Hello,
    context: ssl.SSLContext,
    timing: Timing,
) -> tuple[aiohttp.ClientWebSocketResponse, Hello]:
    socket = await _open(session, peer, PEER_PATH, context=context, timing=timing)
    try:
        tls = of_socket(socket, "ssl_object")
        if tls is None:
            raise ConnectionResetError("the connection ended before it was looked at")
        require_pinned(tls, peer.certificate)
    except (PinMismatch, ConnectionResetError) as error:
        await close_socket(socket, code=CLOSE_REFUSED, reason=str(error), timeout_s=timing.close_s)
        raise
    return await _greet(socket, peer_id, hello=hello, timing=timing)


async def _open(
    session: aiohttp.ClientSession, peer: Peer, path: str, *, context: ssl.SSLContext, timing: Timing
) -> aiohttp.ClientWebSocketResponse:
    assert peer.address is not None, "only peers with an address are dialled"
    host, port = split_address(peer.address)
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return await session.ws_connect(
        f"wss://{authority}{path}",
        ssl=context,
        autoping=False,
        compress=0,
        max_msg_size=MESSAGE_SIZE_MAX + 1,
        timeout=aiohttp.ClientWSTimeout(ws_close=timing.close_s),
    )


async def _greet(
    socket: aiohttp.ClientWebSocketResponse, peer_id: str, *, hello: Hello, timing: Timing
) -> tuple[aiohttp.ClientWebSocketResponse, Hello]:
    try:
        await socket.send_bytes(encode_hello(hello))
        return socket, await _receive_answer(socket, peer_id, hello.chain_id)
    except HelloRefused as error:
        await close_socket(socket, code=CLOSE_REFUSED, reason=str(error), timeout_s=timing.close_s)
        raise
    except BaseException:
        await close_socket(socket, code=CLOSE_REFUSED, reason="no hello", timeout_s=timing.close_s)
        raise


async def _receive_answer(socket: WebSocket, peer_id: str, chain_id: bytes) -> Hello:
    answer = await receive_hello(socket)
    check_chain(answer, chain_id)
    if answer.node_id != peer_id:
        raise HelloRefused(where="node id", expected=peer_id, found=answer.node_id)
    return answer


async def receive_hello(socket: WebSocket) -> Hello:
    """Read the first frame, which must be a hello."""
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.BINARY:
        raise HelloRefused(where="first frame", expected="a hello", found=describe_end(message).reason)
    if len(message.data) > HELLO_SIZE_MAX:
        raise HelloRefused(
            where="hello", expected=f"at most {HELLO_SIZE_MAX} bytes", found=str(len(message.data))
        )
    return decode_hello(message.data)
