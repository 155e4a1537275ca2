"""The peers of a node: opaque bounded messages between registered nodes over mutually authenticated TLS 1.3.

Rule 1: only a node whose exact certificate the registry pins, under the id that it is pinned for, on this
chain, gets to send a message. The registry is data and may be replaced at run time.
Rule 2: everything that waits is bounded, for each peer by itself: what it sent (`receive_queue`), what it is to get
(`send_queue`), connections before they are known (`listener`).
Rule 3: delivery is best effort. Within one connection messages arrive in order and once; when a connection
ends, some may be lost. Whoever needs one, asks or tells again.
Rule 4: a peer that breaks a rule is disconnected and refused for a time, never for good: with four
validators a lasting refusal could cost the quorum. Only governance removes a node.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

import aiohttp
from aiohttp import web

from node.network.connection import (
    CLOSE_DUPLICATE,
    CLOSE_GOING_AWAY,
    CLOSE_OFFENCE,
    CLOSE_REFUSED,
    CLOSE_TIMED_REFUSAL,
    Connection,
    WebSocket,
    close_socket,
    of_socket,
)
from node.network.dialer import (
    Backoff,
    DialFailed,
    HungUp,
    PinFailed,
    Unanswered,
    dial,
    dial_unpinned,
    make_session,
    receive_hello,
)
from node.network.fetching import Fetching
from node.network.hello import INCARNATION_SIZE, Hello, HelloRefused, check_chain, encode_hello
from node.network.limits import MESSAGE_SIZE_MAX, OFFENCE_REFUSAL_S, REFUSAL_S_MAX, Timing
from node.network.link import Link, PeerStatus
from node.network.listener import FETCH_PATH, Listener
from node.network.pathsize import SMALL_SEGMENT_SIZE, PathSize, has_small_segments
from node.network.receivequeue import ReceiveQueue
from node.network.registry import Peer, PeerKind, PeerRegistry
from node.network.sendqueue import SendQueue
from node.network.tls import (
    PinMismatch,
    TlsIdentity,
    make_client_context,
    make_fetching_context,
    make_server_context,
    require_pinned,
)
from node.peernames import is_unpinned

logger = logging.getLogger(__name__)

DISPLACED_COUNT = 3
DISPLACED_WINDOW_S = 60.0
"""So often in this time, a peer ends the pair's connection for another one of which this node knows nothing."""


class TurnedAway(Exception):
    """A connection that is turned away after its hello, with the close code and reason for it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def _ignore(_peer_id: str) -> None:
    """Do nothing about a peer's coming or going."""


class PeerNetwork:
    """Connects one node with its peers. Construct, `start`, use, `close`, all on one event loop.

    `on_peer_up` and `on_peer_down` are called on the loop and must not block. `delay_ms` holds back every
    outgoing message by that time without reordering; it exists for measurement on loopback only. A peer that
    hangs up is shown the `other_identities` in turn (docs/sync.md, Stale pins).
    """

    def __init__(
        self,
        *,
        node_id: str,
        identity: TlsIdentity,
        chain_id: bytes,
        peers: Mapping[str, Peer],
        random_source: random.Random,
        on_peer_up: Callable[[str], None] = _ignore,
        on_peer_down: Callable[[str], None] = _ignore,
        on_unpinned_up: Callable[[str], None] | None = None,
        on_unpinned_down: Callable[[str], None] = _ignore,
        timing: Timing | None = None,
        delay_ms: float = 0.0,
        other_identities: Callable[[], Sequence[TlsIdentity]] = tuple,
    ) -> None:
        if not 0 <= delay_ms < float("inf"):
            raise ValueError(f"delay_ms: expected 0 or more, found {delay_ms}")
        self.node_id = node_id
        self._identity = identity
        self._other_identities = other_identities
        # Not a secret: it only has to differ between two runs of this node.
        self._hello = Hello(chain_id, random_source.randbytes(INCARNATION_SIZE), node_id)
        self._random_source = random_source
        self._on_peer_up = on_peer_up
        self._on_peer_down = on_peer_down
        self._timing = timing or Timing()
        self._delay_s = delay_ms / 1000
        self._registry = self._without_self(peers)
        self._client_context, server_context = self._make_contexts(self._registry)
        self._receive_queue = ReceiveQueue()
        self._fetching: Fetching | None = None
        if on_unpinned_up is not None:
            self._fetching = Fetching(self._receive_queue, self._timing, on_unpinned_up, on_unpinned_down)
        self._links: dict[str, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._small_session: aiohttp.ClientSession | None = None
        self._displaced_at: deque[float] = deque(maxlen=DISPLACED_COUNT)
        self._is_closing = False
        self._listener = Listener(
            self._serve,
            make_socket=self._make_socket,
            is_pinned=lambda certificate: self._registry.is_pinned(certificate),
            context=server_context,
            timing=self._timing,
        )

    async def start(self, *, host: str, port: int) -> int:
        """Listen and begin to dial; return the port listened on (the system chooses one for port 0)."""
        assert self._session is None, "a network starts once"
        bound_port = self._listener.bind(host, port)
        self._session = make_session()
        self._small_session = make_session(is_small=True)
        self._spawn(self._listener.accept_forever())
        for peer_id, peer in self._registry.peers.items():
            self._add_link(peer_id, peer)
        return bound_port

    async def close(self) -> None:
        """Say goodbye to every peer, stop listening and dialling, and leave nothing running."""
        if self._is_closing:
            return
        self._is_closing = True
        self._receive_queue.close()
        for link in self._links.values():
            self._end(link, CLOSE_GOING_AWAY, "the node is stopping")
        connected = [link.connection for link in self._links.values() if link.connection is not None]
        await asyncio.gather(*(connection.closed.wait() for connection in connected))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.close()
        for session in (self._session, self._small_session):
            if session is not None:
                await session.close()

    def send(self, peer_id: str, data: bytes) -> bool:
        """Queue a message for one peer; False when it is not connected. Never waits."""
        _check_outgoing(data)
        if is_unpinned(peer_id):
            return self._fetching is not None and self._fetching.send(peer_id, data)
        link = self._links.get(peer_id)
        if link is None or link.connection is None:
            return False
        link.send_queue.put(data)
        return True

    def broadcast(self, data: bytes, kind: PeerKind | None = None) -> int:
        """Queue a message for every connected peer (of that kind); return how many there are."""
        _check_outgoing(data)
        chosen = [
            link
            for link in self._links.values()
            if link.is_connected and (kind is None or link.peer.kind is kind)
        ]
        for link in chosen:
            link.send_queue.put(data)
        return len(chosen)

    def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield (peer id, message), going round the peers, until the network is closed. For one consumer."""
        return self._receive_queue.messages()

    async def take_batch(self, count_max: int) -> list[tuple[str, bytes]]:
        """Wait for a message, then take up to `count_max`, going round the peers; empty when closed."""
        return await self._receive_queue.take_batch(count_max)

    def disconnect(self, peer_id: str, reason: str, seconds: float) -> None:
        """Close the peer's connection, drop what waits from it and refuse it for that long."""
        if not 0 <= seconds <= REFUSAL_S_MAX:
            raise ValueError(f"refusal: expected 0 to {REFUSAL_S_MAX} s, found {seconds}")
        if is_unpinned(peer_id) and self._fetching is not None:
            self._fetching.disconnect(peer_id, reason, seconds)
            return
        link = self._links.get(peer_id)
        if link is None:
            return
        until = asyncio.get_running_loop().time() + seconds
        if until > link.refused_until:
            link.refused_until, link.refusal_reason = until, reason
        logger.warning("peer.disconnected peer=%s seconds=%.1f reason=%s", peer_id, seconds, reason)
        self._receive_queue.forget(peer_id)
        self._end(link, CLOSE_TIMED_REFUSAL, f"refused for {seconds:.1f} s: {reason}")

    def update_peers(self, peers: Mapping[str, Peer], identity: TlsIdentity | None = None) -> None:
        """Replace the registry: drop who is gone or has another certificate, dial who is new or moved.

        An `identity` replaces what this node shows; connections on which it showed another one end. A peer that
        knew the new one first could not pin what it was shown: it takes such a connection for fetching only.
        """
        is_replaced = identity is not None and identity.certificate != self._identity.certificate
        self._identity = identity or self._identity
        registry = self._without_self(peers)
        self._client_context, self._listener.context = self._make_contexts(registry)
        before, self._registry = self._registry, registry
        if self._session is None:
            return
        for peer_id in before.peers.keys() - registry.peers.keys():
            self._remove_link(peer_id, "no longer registered")
        for peer_id, peer in registry.peers.items():
            link = self._links.get(peer_id)
            if link is not None and link.peer.certificate != peer.certificate:
                self._remove_link(peer_id, "its certificate was replaced")
                link = None
            if link is None:
                self._add_link(peer_id, peer)
                continue
            if link.peer != peer:
                self._move_link(link, peer)
            if is_replaced:
                link.hung_up_count = 0
                self._end(link, CLOSE_GOING_AWAY, "this node's certificate was replaced")

    def is_connected(self, peer_id: str) -> bool:
        """Say whether this node and the peer are connected, each pinning the other."""
        link = self._links.get(peer_id)
        return link is not None and link.is_connected

    def statuses(self) -> tuple[PeerStatus, ...]:
        """Return what there is to see of every peer, ordered by id."""
        return tuple(
            self._links[peer_id].status(self._receive_queue.size(peer_id)) for peer_id in sorted(self._links)
        )

    def swallowing(self) -> tuple[str, ...]:
        """Return the peers whose paths swallow large packets, ordered by id."""
        return tuple(sorted(peer_id for peer_id, link in self._links.items() if link.path.is_swallowing))

    @property
    def is_displaced(self) -> bool:
        """Whether peers keep ending this node's connections for those of another process that shows its certificate."""
        times = self._displaced_at
        is_full = len(times) == DISPLACED_COUNT
        return is_full and asyncio.get_running_loop().time() - times[0] < DISPLACED_WINDOW_S

    @property
    def pending_count(self) -> int:
        """How many accepted connections have no known peer yet."""
        return self._listener.pending_count

    @property
    def refused_count(self) -> int:
        """How many connections lost their place because too many were pending."""
        return self._listener.refused_count

    def _without_self(self, peers: Mapping[str, Peer]) -> PeerRegistry:
        return PeerRegistry({peer_id: peer for peer_id, peer in peers.items() if peer_id != self.node_id})

    def _make_contexts(self, registry: PeerRegistry) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        pinned = registry.certificates()
        return make_client_context(self._identity, pinned), make_server_context(self._identity, pinned)

    def _make_socket(self) -> web.WebSocketResponse:
        # aiohttp refuses a message of max_msg_size; its own heartbeat would blame a peer for our full receive_queue.
        return web.WebSocketResponse(
            timeout=self._timing.close_s, autoping=False, compress=False, max_msg_size=MESSAGE_SIZE_MAX + 1
        )

    # Links

    def _add_link(self, peer_id: str, peer: Peer) -> None:
        link = Link(peer_id, peer, SendQueue(self._delay_s), PathSize(asyncio.get_running_loop().time))
        self._links[peer_id] = link
        if peer.address is not None:
            link.dialer = self._spawn(self._dial_forever(link))

    def _remove_link(self, peer_id: str, reason: str) -> None:
        link = self._links.pop(peer_id)
        if self._fetching is not None:
            self._fetching.end(peer_id, reason)
        if link.dialer is not None:
            link.dialer.cancel()
        self._receive_queue.forget(peer_id)
        self._end(link, CLOSE_REFUSED, reason)

    def _move_link(self, link: Link, peer: Peer) -> None:
        has_moved = link.peer.address != peer.address
        link.peer = peer
        if not has_moved:
            return
        if link.dialer is not None:
            link.dialer.cancel()
        link.dialer = None if peer.address is None else self._spawn(self._dial_forever(link))

    def _end(self, link: Link, code: int, reason: str) -> None:
        if link.connection is not None:
            link.connection.end(code, reason)

    # Connections

    async def _dial_forever(self, link: Link) -> None:
        backoff = Backoff(self._timing, self._random_source)
        told = ""
        while True:
            await asyncio.sleep(backoff.delay_s())
            await self._wait_until_dialable(link)
            try:
                connection = await self._dial_once(link)
            except (DialFailed, TurnedAway) as error:
                backoff.failed()
                if isinstance(error, HungUp):
                    link.hung_up_count += 1
                if isinstance(error, Unanswered):
                    link.path.note_unanswered()
                if isinstance(error, PinFailed):
                    await self._fetch_from(link)
                if str(error) != told:
                    told = str(error)
                    logger.info("peer.dial_failed peer=%s reason=%s", link.peer_id, told)
                continue
            told = ""
            await connection.closed.wait()
            if asyncio.get_running_loop().time() - connection.established_at >= self._timing.stable_after_s:
                backoff.succeeded()
            else:
                backoff.failed()

    async def _fetch_from(self, link: Link) -> None:
        """Fetch from whoever answers at this address, while the pin is not what it shows."""
        fetching = self._fetching
        if fetching is None or self._is_closing or fetching.is_refused(link.peer_id):
            return
        try:
            socket, hello = await dial_unpinned(
                self._dialling_session(link),
                link.peer_id,
                link.peer,
                hello=self._hello,
                context=make_fetching_context(self._shown_to(link)),
                timing=self._timing,
            )
        except DialFailed as error:
            if isinstance(error, HungUp):
                link.hung_up_count += 1
            logger.info("peer.fetch_failed peer=%s reason=%s", link.peer_id, error)
            return
        await fetching.carry(link.peer_id, socket, hello, own_id=self.node_id, path=link.path)

    def _dialling_session(self, link: Link) -> aiohttp.ClientSession:
        session = self._small_session if link.path.is_next_dial_small else self._session
        assert session is not None, "dialling begins at start"
        return session

    def _shown_to(self, link: Link) -> TlsIdentity:
        """Return what a peer is shown at the next attempt: another of ours after each time it hung up."""
        if link.hung_up_count == 0:
            return self._identity
        shown = (self._identity, *self._other_identities())
        return shown[link.hung_up_count % len(shown)]

    def _dialling_context(self, link: Link) -> ssl.SSLContext:
        shown = self._shown_to(link)
        if shown is self._identity:
            return self._client_context
        return make_client_context(shown, self._registry.certificates())

    async def _wait_until_dialable(self, link: Link) -> None:
        while True:
            await link.is_down.wait()
            refused_for_s = link.refused_until - asyncio.get_running_loop().time()
            if refused_for_s <= 0:
                return
            await asyncio.sleep(refused_for_s)

    async def _dial_once(self, link: Link) -> Connection:
        link.dial_over.clear()
        try:
            socket, hello = await dial(
                self._dialling_session(link),
                link.peer_id,
                link.peer,
                hello=self._hello,
                context=self._dialling_context(link),
                timing=self._timing,
            )
            try:
                return self._attach(link, socket, hello, dialer_id=self.node_id, first=None)
            except TurnedAway as refusal:
                await self._turn_away(socket, refusal)
                raise
        finally:
            link.dial_over.set()

    async def _serve(self, socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        # In a task of ours, since aiohttp would log a failure of ours as one of the request and go on.
        await asyncio.wait([self._spawn(self._serve_accepted(socket, request))])

    async def _serve_accepted(self, socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        tls = of_socket(socket, "ssl_object")
        if tls is None:
            return
        try:
            hello = await receive_hello(socket)
            await self._await_own_dial(self._identify(hello, tls))
            # Asked again: the registry may have changed meanwhile.
            link = self._identify(hello, tls)
            answer = encode_hello(self._hello)
            connection = self._attach(
                link,
                socket,
                hello,
                dialer_id=link.peer_id,
                first=answer,
                is_fetching=request.path == FETCH_PATH,
            )
        except (HelloRefused, PinMismatch) as error:
            logger.warning("peer.refused address=%s reason=%s", request.remote, error)
            await self._turn_away(socket, TurnedAway(CLOSE_REFUSED, str(error)))
        except TurnedAway as refusal:
            await self._turn_away(socket, refusal)
        else:
            self._listener.admit(request)
            await connection.closed.wait()

    async def _await_own_dial(self, link: Link) -> None:
        # node/network/link.py, rule 1: ours would replace this one right after, and what was sent on it would be lost.
        if self.node_id < link.peer_id:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.tie_s):
                    await link.dial_over.wait()

    def _identify(self, hello: Hello, tls: ssl.SSLObject) -> Link:
        check_chain(hello, self._hello.chain_id)
        link = self._links.get(hello.node_id)
        if link is None:
            raise HelloRefused(where="node id", expected="a registered peer", found=hello.node_id)
        require_pinned(tls, link.peer.certificate)
        return link

    def _attach(
        self,
        link: Link,
        socket: WebSocket,
        hello: Hello,
        *,
        dialer_id: str,
        first: bytes | None,
        is_fetching: bool = False,
    ) -> Connection:
        is_small = has_small_segments(of_socket(socket, "socket"))
        self._check_welcome(link, hello, dialer_id, is_fetching=is_fetching, is_small=is_small)
        connection = Connection(
            socket,
            peer_id=link.peer_id,
            dialer_id=dialer_id,
            incarnation=hello.incarnation,
            receive_queue=self._receive_queue,
            send_queue=link.send_queue,
            timing=self._timing,
            path=link.path,
            is_fetching=is_fetching,
        )
        replaced, link.connection = link.connection, connection
        self._spawn(self._run(link, connection, first))
        if replaced is not None:
            replaced.end(CLOSE_DUPLICATE, "another connection of this pair is kept")
        is_same = replaced is not None and replaced.incarnation == hello.incarnation
        was_up = replaced is not None and not replaced.is_fetching
        if was_up and not is_same:
            self._note_down(link, "the peer restarted")
        if is_fetching:
            link.is_down.set()
            logger.info("peer.fetches peer=%s: it cannot pin what is shown to it", link.peer_id)
            return connection
        link.is_down.clear()
        if not (was_up and is_same):
            logger.info("peer.connected peer=%s dialer=%s", link.peer_id, dialer_id)
            self._on_peer_up(link.peer_id)
        return connection

    def _check_welcome(
        self, link: Link, hello: Hello, dialer_id: str, *, is_fetching: bool, is_small: bool
    ) -> None:
        if self._is_closing:
            raise TurnedAway(CLOSE_GOING_AWAY, "the node is stopping")
        now = asyncio.get_running_loop().time()
        if link.refused_until > now:
            remaining_s = link.refused_until - now
            reason = f"refused for {remaining_s:.1f} s more: {link.refusal_reason}"
            raise TurnedAway(CLOSE_TIMED_REFUSAL, reason)
        if dialer_id == link.peer_id and link.is_connecting_too_often(now):
            self.disconnect(link.peer_id, "it connects too often", OFFENCE_REFUSAL_S)
            raise TurnedAway(CLOSE_TIMED_REFUSAL, link.refusal_reason)
        if not link.prefers(
            dialer_id=dialer_id,
            incarnation=hello.incarnation,
            own_id=self.node_id,
            is_fetching=is_fetching,
        ):
            raise TurnedAway(CLOSE_DUPLICATE, "another connection of this pair is kept")
        if dialer_id == link.peer_id and link.path.turns_away(is_small=is_small):
            raise TurnedAway(CLOSE_GOING_AWAY, "packets of this size do not pass: dial again")

    async def _run(self, link: Link, connection: Connection, first: bytes | None) -> None:
        try:
            ended = await connection.carry(first)
            if ended.code == CLOSE_OFFENCE:
                self.disconnect(link.peer_id, ended.reason, OFFENCE_REFUSAL_S)
            if connection.is_stuck(ended):
                self._note_stuck(link, connection)
            elif connection.has_died_unproven(ended):
                link.path.note_unanswered()
            self._limit_accepted()
            if link.connection is connection:
                link.connection = None
                link.is_down.set()
                if ended.peer_code == CLOSE_DUPLICATE:
                    self._displaced_at.append(asyncio.get_running_loop().time())
                if connection.is_fetching:
                    link.send_queue.clear()
                else:
                    self._note_down(link, ended.reason)
            await connection.close(ended)
        finally:
            connection.closed.set()

    def _note_stuck(self, link: Link, connection: Connection) -> None:
        link.path.note_stuck(is_small=connection.is_small)
        if link.path.is_small:
            logger.warning(
                "peer.large_packets_lost peer=%s: what it was sent did not arrive, though it was heard; "
                "the next connection has small packets, and net.ipv4.tcp_mtu_probing=1 may be what heals the path",
                link.peer_id,
            )

    def _limit_accepted(self) -> None:
        """Give those who dial small segments while anybody's path needs them (node/network/pathsize.py, rule 2)."""
        is_needed = any(link.path.is_small for link in self._links.values())
        self._listener.limit_segments(SMALL_SEGMENT_SIZE if is_needed else 0)

    def _note_down(self, link: Link, reason: str) -> None:
        link.send_queue.clear()
        if link.refused_until > asyncio.get_running_loop().time():
            # The reader may have delivered once more between the refusal and its own end.
            self._receive_queue.forget(link.peer_id)
        logger.info("peer.gone peer=%s reason=%s", link.peer_id, reason)
        self._on_peer_down(link.peer_id)

    async def _turn_away(self, socket: WebSocket, refusal: TurnedAway) -> None:
        await close_socket(socket, code=refusal.code, reason=refusal.reason, timeout_s=self._timing.close_s)

    # Tasks

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            # A broken invariant of our own: the consumer is told, and the node stops.
            logger.critical("network.failed error=%r", failure)
            self._receive_queue.close(failure)


def _check_outgoing(data: bytes) -> None:
    if not 0 < len(data) <= MESSAGE_SIZE_MAX:
        raise ValueError(f"message: expected 1 to {MESSAGE_SIZE_MAX} bytes, found {len(data)}")
