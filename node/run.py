"""The composition root: it makes a node of its parts, runs it, and takes it down again.

Rule 1: a node refuses to start under `python -O`, on a foreign chain, or with a clock before genesis.
Rule 2: whatever breaks the driver ends the process with the reason; a node never goes on half alive.
Rule 3: parts are closed in the reverse of the order in which they were opened.
"""

import asyncio
import logging
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ledger.certificates import QuorumCertificate, Vote
from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.keys import PrivateKey
from ledger.overlays import Executed
from ledger.state import OBSERVER, VALIDATOR, Node, find, node_key
from node.chain import Chain
from node.clock import Clock, SystemClock
from node.consensus.core import Simplex
from node.consensus.effects import Persist
from node.consensus.journal import JournalRecord, VoteCast
from node.consensus.rounds import FinalizedTip
from node.driver import Driver
from node.home import Home
from node.journal import VoteLogJournal
from node.keyfiles import Protection
from node.mempool import Mempool
from node.network.peers import PeerNetwork
from node.network.registry import Peer, PeerKind
from node.network.tls import TlsIdentity
from node.running import RunningNode
from node.settings import NodeSettings
from node.storage.signer import SignerGuard
from node.storage.store import Store

logger = logging.getLogger(__name__)

EPOCH: Final = 0
CLOCK_TOLERANCE_MS: Final = 60_000


class StartRefused(Exception):
    """The node does not start. Says what was expected and found, and the cure."""

    def __init__(self, expected: str, found: str, cure: str) -> None:
        super().__init__(f"the node does not start: expected {expected}, found {found}. {cure}")
        self.expected = expected
        self.found = found
        self.cure = cure


@dataclass(frozen=True, slots=True)
class NodeParts:
    """Everything that a node is made of. `validator_key` is None for observers."""

    member: str
    genesis: Genesis
    settings: NodeSettings
    identity: TlsIdentity
    validator_key: PrivateKey | None
    member_key: PrivateKey | None
    data: Path


class ApiServer(Protocol):
    """The door for clients."""

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        ...

    async def close(self) -> None:
        """Stop listening and end what is open."""
        ...


def load_parts(home: Home, protection: Protection) -> NodeParts:
    """Return the parts of the node that a home describes. Raises ConfigError or KeyFileError."""
    content = home.genesis.content
    registered = next(member for member in content.members if member.id == home.member)
    if registered.node is None:
        cure = "Members without a node use the API of another one's, with --url."
        raise StartRefused(f"a home of a node in {home.path}", f"{home.member}, which runs none", cure)
    validator_key = None
    if registered.node.kind == VALIDATOR:
        validator_key = home.load_validator_key(protection, expected=registered.node.validator_key)
    return NodeParts(
        member=home.member,
        genesis=home.genesis,
        settings=home.require_node(),
        identity=home.load_tls_identity(protection),
        validator_key=validator_key,
        member_key=home.load_member_key(protection),
        data=home.data,
    )


class _NoJournal:
    """An observer signs nothing and so remembers nothing."""

    def persist(self, effect: Persist) -> None:
        """Keep nothing: what an observer accepts, its store holds."""

    def finalized(self, core: Simplex) -> None:
        """Keep nothing."""

    def amnesia_ended(self, core: Simplex) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Close nothing."""


class NodeProcess:
    """One running node. `start`, then wait for `failed` or stop it."""

    def __init__(
        self,
        parts: NodeParts,
        make_api: Callable[[RunningNode], ApiServer],
        *,
        clock: Clock | None = None,
    ) -> None:
        """Open store, vote log and core. Raises StartRefused, StoreError or VoteLogError."""
        self._parts = parts
        self._clock = clock or SystemClock()
        self._check_start()
        content = parts.genesis.content
        self._chain_id, self._validators = content.chain_id, content.validators
        parts.data.mkdir(parents=True, exist_ok=True)
        self.store = Store.open(parts.data / "chain", parts.genesis)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._pump: asyncio.Task[None] | None = None
        self._connected: set[str] = set()
        self._guard: SignerGuard | None = None
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        try:
            self._journal, core = self._open_core()
        except BaseException:
            self.store.close()
            raise
        self._network = self._make_network()
        self.driver = Driver(
            member=parts.member,
            validators=self._validators,
            core=core,
            chain=Chain(self.store, self._validators),
            mempool=Mempool(),
            journal=self._journal,
            transport=self._network,
            clock=self._clock,
            on_final=self._became_final,
            on_refused=lambda transaction, error: self.node.was_refused(transaction, error),
            on_failure=self._fail,
        )
        self.node = RunningNode(
            genesis=parts.genesis,
            member=parts.member,
            kind=VALIDATOR if parts.validator_key is not None else OBSERVER,
            driver=self.driver,
            store=self.store,
            clock=self._clock,
            member_key=parts.member_key,
            peers_connected=lambda: tuple(sorted(self._connected)),
        )
        self._api = make_api(self.node)

    def _check_start(self) -> None:
        if not __debug__:
            raise StartRefused(
                "assertions", "python -O, which removes them", "Start without -O and PYTHONOPTIMIZE."
            )
        genesis_ms, now_ms = self._parts.genesis.content.time_ms, self._clock.wall_ms()
        if now_ms < genesis_ms - CLOCK_TOLERANCE_MS:
            expected = f"a clock at or after the genesis time {genesis_ms}"
            raise StartRefused(expected, f"{now_ms}", "Set the machine's clock.")

    def _open_core(self) -> tuple[VoteLogJournal | _NoJournal, Simplex]:
        parts, store = self._parts, self.store
        tip = store.tip()
        finalized = FinalizedTip(tip.header.view, tip.sealed.hash, store.tip_certificate())
        me = self._validators.index_of(parts.member)
        if me is None or parts.validator_key is None:
            if me is not None or parts.validator_key is not None:
                expected = "a validator key exactly where genesis names this member a validator"
                cure = "Use the genesis.json and the keys of this home."
                raise StartRefused(expected, "the opposite", cure)
            core = Simplex(
                parts.settings.tuning, self._validators, None, EPOCH, (), finalized, None, self._verify
            )
            return _NoJournal(), core
        if self._validators.validators[me].key != parts.validator_key.public:
            cure = "Use the validator key of this home."
            raise StartRefused(
                f"validator key {self._validators.validators[me].key}", f"{parts.validator_key.public}", cure
            )
        journal, records, recovery = VoteLogJournal.open(
            parts.data / "votes",
            chain_id=self._chain_id,
            validator=parts.member,
            epoch=EPOCH,
            has_voted=tip.header.height > 0,
        )
        if recovery.damage is not None:
            logger.error("votelog.damaged kind=%s detail=%s", recovery.damage.kind, recovery.damage.detail)
        guard = self._make_guard(parts.validator_key, records, finalized.view)
        core = Simplex(
            parts.settings.tuning,
            self._validators,
            me,
            EPOCH,
            records,
            finalized,
            guard.sign,
            self._verify,
        )
        return journal, core

    def _make_guard(
        self, key: PrivateKey, records: tuple[JournalRecord, ...], floor_view: int
    ) -> SignerGuard:
        signed = [record.vote.subject for record in records if isinstance(record, VoteCast)]
        self._guard = SignerGuard(
            key, chain_id=self._chain_id, signed=signed, floor_epoch=EPOCH, floor_view=floor_view
        )
        return self._guard

    def _became_final(self, path: list[Executed]) -> None:
        if self._guard is not None:
            self._guard.raise_floor(epoch=EPOCH, view=path[-1].block.header.view)
        self.node.became_final(path)

    def _verify(self, signed: Vote | QuorumCertificate) -> bool:
        try:
            signed.verify(self._chain_id, self._validators)
        except LedgerError:
            return False
        return True

    def _make_network(self) -> PeerNetwork:
        parts = self._parts
        peers: dict[str, Peer] = {}
        for member in parts.genesis.content.members:
            node = find(self.store, Node, node_key(member.id))
            if node is None:
                continue
            if member.id == parts.member:
                if node.tls_certificate != parts.identity.certificate:
                    cure = "Use the TLS certificate of this home."
                    raise StartRefused("the registered TLS certificate", "another one", cure)
                continue
            address = parts.settings.peers.get(member.id)
            try:
                peers[member.id] = Peer(
                    node.tls_certificate, None if address is None else str(address), PeerKind(node.kind)
                )
            except ValueError as error:
                # One bad registration must not stop everybody else's node.
                logger.error("peer.unusable member=%s error=%s", member.id, error)
        return PeerNetwork(
            node_id=parts.member,
            identity=parts.identity,
            chain_id=self._chain_id,
            peers=peers,
            random_source=random.SystemRandom(),
            on_peer_up=self._peer_up,
            on_peer_down=self._peer_down,
        )

    async def start(self) -> None:
        """Listen for peers and clients, and take part."""
        listen, api = self._parts.settings.listen, self._parts.settings.api
        await self._network.start(host=listen.host, port=listen.port)
        self._pump = asyncio.get_running_loop().create_task(self._receive_forever())
        self._guarded(self.driver.start)
        await self._api.start(api.host, api.port)
        logger.info(
            "node.started member=%s height=%d peers=%s api=%s",
            self._parts.member,
            self.store.tip().header.height,
            listen,
            api,
        )

    async def stop(self) -> None:
        """Take the node down. Everything that was promised is on disk already."""
        await self._api.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._network.close()
        self._journal.close()
        self.store.close()
        logger.info("node.stopped member=%s", self._parts.member)

    async def _receive_forever(self) -> None:
        async for peer, data in self._network.messages():
            self._guarded(lambda peer=peer, data=data: self.driver.receive(peer, data))  # type: ignore[misc]

    def _peer_up(self, peer: str) -> None:
        self._connected.add(peer)
        self._guarded(lambda: self.driver.peer_up(peer))

    def _peer_down(self, peer: str) -> None:
        self._connected.discard(peer)
        self._guarded(lambda: self.driver.peer_down(peer))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run one step of the driver, unless it failed before; then see to the next deadline."""
        if self.failed.done():
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  The outermost loop: the node ends with this reason.
            self._fail(error)
            return
        self._arm()

    def _arm(self) -> None:
        deadline = self.driver.next_deadline_ms()
        if self._timer is not None and self._timer_ms <= deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_ms = max(0, deadline - self._clock.monotonic_ms())
        self._timer_ms = deadline
        self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._guarded(self.driver.tick)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            logger.critical("node.failed error=%r", error)
            self.failed.set_result(error)


async def run_node(
    parts: NodeParts,
    make_api: Callable[[RunningNode], ApiServer],
    *,
    on_ready: Callable[[], None] = lambda: None,
    clock: Clock | None = None,
) -> None:
    """Run a node until SIGINT or SIGTERM. Raises what it failed with."""
    process = NodeProcess(parts, make_api, clock=clock)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    try:
        await process.start()
        on_ready()
        process.failed.add_done_callback(lambda _failure: stopping.set())
        await stopping.wait()
    finally:
        await process.stop()
    if process.failed.done():
        raise process.failed.result()
