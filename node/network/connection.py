"""One established WebSocket to one peer (docs/decisions/0002).

Rule 1: a message is one binary frame of 1 to MESSAGE_SIZE_MAX bytes. Text, an empty or a larger message is
an offence, and so is a flood of pings.
Rule 2: three tasks serve a connection (read, write, watch); the first that ends, ends all of it.
Rule 3: a peer is dead when it is silent in spite of pings, or does not take a message for too long. Silence
that is our own doing, because its receive_queue lane is full, does not count.
Rule 4: behind long messages goes a probe, a ping that has a number. Its answer shows that they arrived
(node/network/pathsize.py, rule 1).
"""

import asyncio
import contextlib
from collections import deque
from typing import Any

import aiohttp
from aiohttp import web

from node.network.limits import (
    CONTROL_FRAMES_PER_WINDOW_MAX,
    MESSAGE_SIZE_MAX,
    READ_BURST_MAX,
    WINDOW_S,
    Timing,
)
from node.network.pathsize import LARGE_SIZE, PathSize, has_small_segments
from node.network.receivequeue import ReceiveQueue
from node.network.sendqueue import SendQueue

WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse

CLOSE_GOING_AWAY = 1001
CLOSE_REFUSED = 4001
"""Another chain, version or node id than expected."""
CLOSE_DUPLICATE = 4002
"""Another connection of this pair is kept."""
CLOSE_TIMED_REFUSAL = 4003
"""Refused until a time."""
CLOSE_OFFENCE = 4004
"""The peer broke a rule of the transport."""
CLOSE_DEAD = 4005
"""The peer is silent or takes nothing."""
CLOSE_REASON_SIZE_MAX = 123
PROBE_SIZE = 8


class ConnectionEnded(Exception):
    """Why a connection is over, with the WebSocket close code for it."""

    def __init__(self, code: int, reason: str, peer_code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.peer_code = peer_code
        """The close code that the peer gave, where it closed."""


class Connection:
    """Carries messages between a WebSocket and the peer's two queues until either side ends it."""

    def __init__(
        self,
        socket: WebSocket,
        *,
        peer_id: str,
        dialer_id: str,
        incarnation: bytes,
        receive_queue: ReceiveQueue,
        send_queue: SendQueue,
        timing: Timing,
        path: PathSize,
        is_fetching: bool = False,
    ) -> None:
        self.peer_id = peer_id
        self.is_fetching = is_fetching
        self.dialer_id = dialer_id
        self.incarnation = incarnation
        self._socket = socket
        self._receive_queue = receive_queue
        self._send_queue = send_queue
        self._timing = timing
        self._path = path
        self.is_small = has_small_segments(of_socket(socket, "socket"))
        self._loop = asyncio.get_running_loop()
        self.established_at = self._loop.time()
        self.closed = asyncio.Event()
        self._ended: ConnectionEnded | None = None
        self._ending: asyncio.Future[None] = self._loop.create_future()
        self._heard_at = self._loop.time()
        self._sending_since: float | None = None
        self._is_held_back = False
        self._control_frames: deque[float] = deque(maxlen=CONTROL_FRAMES_PER_WINDOW_MAX)
        # Bytes of which no probe has shown that they arrived; those before the probe that is under way, and since when.
        self._unproven_size = 0
        self._probed_size = 0
        self._probed_at: float | None = None
        self._probes_count = 0

    def end(self, code: int, reason: str) -> None:
        """Ask the connection to end; the first reason given is the one that counts."""
        self._end(ConnectionEnded(code, reason))

    def _end(self, ended: ConnectionEnded) -> None:
        if self._ended is None:
            self._ended = ended
            self._ending.set_result(None)

    def is_stuck(self, ended: ConnectionEnded) -> bool:
        """Say whether this end is the sign of a path that swallows large packets (node/network/pathsize.py, rule 1)."""
        now = self._loop.time()
        unanswered = [at for at in (self._probed_at, self._sending_since) if at is not None]
        is_heard = now - self._heard_at < 2 * self._timing.ping_interval_s
        has_sent_long = self._unproven_size >= LARGE_SIZE
        # The peer may dial anew before its word that it gave up is here.
        is_replaced = (
            ended.code == CLOSE_DUPLICATE
            and now - min(unanswered, default=now) > self._timing.dead_after_s / 2
        )
        is_given_up = CLOSE_DEAD in (ended.code, ended.peer_code) or is_replaced
        return is_given_up and is_heard and has_sent_long and bool(unanswered)

    def has_died_unproven(self, ended: ConnectionEnded) -> bool:
        """Say whether one side gave up for silence, while nothing shows that long messages arrived."""
        return CLOSE_DEAD in (ended.code, ended.peer_code) and self._unproven_size >= LARGE_SIZE

    async def carry(self, first: bytes | None = None) -> ConnectionEnded:
        """Send `first`, then carry messages until the end, and return why it ended. `close` comes next."""
        tasks: set[asyncio.Future[None]] = {
            asyncio.create_task(self._read()),
            asyncio.create_task(self._write(first)),
            asyncio.create_task(self._watch()),
        }
        try:
            await asyncio.wait({*tasks, self._ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        return self._settle(results)

    async def close(self, ended: ConnectionEnded) -> None:
        """Tell the other side why, and close."""
        await close_socket(self._socket, code=ended.code, reason=ended.reason, timeout_s=self._timing.close_s)

    def _settle(self, results: list[BaseException | None]) -> ConnectionEnded:
        for result in results:
            match result:
                case None | asyncio.CancelledError():
                    pass
                case ConnectionEnded():
                    self._end(result)
                case OSError() | aiohttp.ClientError():
                    self.end(CLOSE_GOING_AWAY, f"connection lost: {type(result).__name__}")
                case _:
                    raise result
        assert self._ended is not None, "a connection's task returned without a reason"
        return self._ended

    async def _read(self) -> None:
        burst_count = 0
        while True:
            message = await self._socket.receive()
            self._heard_at = self._loop.time()
            match message.type:
                case aiohttp.WSMsgType.BINARY:
                    await self._accept(message.data)
                case aiohttp.WSMsgType.PING:
                    self._count_control_frame()
                    await self._socket.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    self._count_control_frame()
                    self._note_pong(message.data)
                case _:
                    raise describe_end(message)
            burst_count += 1
            if burst_count == READ_BURST_MAX:
                # receive() does not yield while frames are buffered.
                burst_count = 0
                await asyncio.sleep(0)

    async def _accept(self, data: bytes) -> None:
        check_message_size(data)
        if self._receive_queue.has_room(self.peer_id, data):
            await self._receive_queue.put(self.peer_id, data)
            return
        self._is_held_back = True
        await self._receive_queue.put(self.peer_id, data)
        self._is_held_back = False
        self._heard_at = self._loop.time()

    async def _write(self, first: bytes | None) -> None:
        if first is not None:
            await self._send(first)
        while True:
            await self._send(await self._send_queue.take())

    async def _send(self, data: bytes) -> None:
        self._sending_since = self._loop.time()
        self._unproven_size += len(data)
        await self._socket.send_bytes(data)
        self._sending_since = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._timing.ping_interval_s)
            now = self._loop.time()
            if self.is_small and self._path.is_trial_due:
                self._path.begin_trial()
                raise ConnectionEnded(CLOSE_GOING_AWAY, "packets of usual size are tried again")
            if self._sending_since is not None:
                # No ping behind a message that is stuck: it would wait in the same buffer.
                self._check_stall(now - self._sending_since)
            elif not self._is_held_back:
                self._check_silence(now - self._heard_at)
                if self._probed_at is None and self._unproven_size >= LARGE_SIZE:
                    await self._probe(now)
                elif now - self._heard_at >= self._timing.ping_interval_s / 2:
                    await self._socket.ping()

    async def _probe(self, now: float) -> None:
        self._probes_count += 1
        self._probed_size, self._probed_at = self._unproven_size, now
        await self._socket.ping(self._probes_count.to_bytes(PROBE_SIZE, "big"))

    def _note_pong(self, data: bytes) -> None:
        if self._probed_at is None or bytes(data) != self._probes_count.to_bytes(PROBE_SIZE, "big"):
            return
        self._unproven_size -= self._probed_size
        self._probed_at = None
        self._path.note_passed(is_small=self.is_small)

    def _check_stall(self, stalled_s: float) -> None:
        if stalled_s > self._timing.send_stall_s:
            raise ConnectionEnded(CLOSE_DEAD, f"a message was not taken for {stalled_s:.1f} s")

    def _check_silence(self, silent_s: float) -> None:
        if silent_s > self._timing.dead_after_s:
            raise ConnectionEnded(CLOSE_DEAD, f"silent for {silent_s:.1f} s")

    def _count_control_frame(self) -> None:
        frames = self._control_frames
        if len(frames) == CONTROL_FRAMES_PER_WINDOW_MAX and self._heard_at - frames[0] < WINDOW_S:
            limit = f"{CONTROL_FRAMES_PER_WINDOW_MAX} pings and pongs in {WINDOW_S:.0f} s"
            raise ConnectionEnded(CLOSE_OFFENCE, f"expected at most {limit}, found more")
        frames.append(self._heard_at)


def check_message_size(data: bytes) -> None:
    """Raise ConnectionEnded, as an offence, unless the message has an allowed size."""
    if not 0 < len(data) <= MESSAGE_SIZE_MAX:
        expected = f"a message of 1 to {MESSAGE_SIZE_MAX} bytes"
        raise ConnectionEnded(CLOSE_OFFENCE, f"expected {expected}, found {len(data)}")


def describe_end(message: aiohttp.WSMessage) -> ConnectionEnded:
    """Say what a frame that is no message means for the connection."""
    match message.type:
        case aiohttp.WSMsgType.TEXT:
            return ConnectionEnded(CLOSE_OFFENCE, "expected binary frames, found text")
        case aiohttp.WSMsgType.ERROR if isinstance(message.data, aiohttp.WebSocketError):
            return ConnectionEnded(CLOSE_OFFENCE, f"not WebSocket as agreed: {message.data}")
        case aiohttp.WSMsgType.CLOSE:
            told = f", saying {message.extra!r}" if message.extra else ""
            reason = f"closed by the peer with code {message.data}{told}"
            return ConnectionEnded(CLOSE_GOING_AWAY, reason, message.data)
        case _:
            return ConnectionEnded(CLOSE_GOING_AWAY, "connection lost")


def of_socket(source: WebSocket | asyncio.BaseTransport, name: str) -> Any:  # noqa: ANN401
    """Return what asyncio knows of a connection under a name, None where it has ended meanwhile."""
    try:
        return source.get_extra_info(name)
    except AttributeError:
        # A TLS transport of CPython that was closed twice has no protocol left to ask.
        return None


async def close_socket(socket: WebSocket, *, code: int, reason: str, timeout_s: float) -> None:
    """Close with a reason, waiting no longer than this for a peer that does not answer."""
    text = reason.encode("utf-8")[:CLOSE_REASON_SIZE_MAX].decode("utf-8", "ignore").encode("utf-8")
    with contextlib.suppress(TimeoutError, OSError, aiohttp.ClientError):
        async with asyncio.timeout(timeout_s):
            await socket.close(code=code, message=text)
