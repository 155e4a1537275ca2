"""The composition root: it makes a node of its parts, runs it, and takes it down again.

Rule 1: a node refuses to start under `python -O`, on a foreign chain, with a clock before genesis, with keys that
others can read or of which none opens. What catching up can cure, it starts without, and says so (docs/starting.md).
Rule 2: whatever breaks the driver ends the process with the reason; a node never goes on half alive.
Rule 3: parts are closed in the reverse of the order in which they were opened.
"""

import asyncio
import logging
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from prometheus_client import CollectorRegistry

from ledger.chain.execution import UnknownProtocol, check_protocol
from ledger.chain.overlays import Executed
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.genesis import Genesis
from ledger.rules.state import require_parameters
from ledger.selftest import require_fit
from ledger.trees.statepages import StatePageError
from ledger.trust import TRUST_VERSION, Pins, TrustedRoot
from node.chain.chain import Chain
from node.clock import Clock, SystemClock
from node.consensus.journal import JournalRecord
from node.consent.textfolder import HeldTexts, hold_texts
from node.errors import RulesUnknown, SetupError, StoreError
from node.files.configfile import ConfigError
from node.files.durablefile import FileLock, FileLocked
from node.files.keyfiles import KeyFileError, Protection
from node.histograms import measure_into
from node.home.home import Home
from node.home.reached import REACHED_FILE, Reached
from node.home.repair import CHAIN, CORE_LOG, NODE_LOCK, SNAPSHOTS, VOTES
from node.home.settings import NODE_FILE, NodeSettings
from node.looppauses import watch_pauses
from node.network.peers import PeerNetwork
from node.network.tls import TlsIdentity
from node.registered import IdentityMissing, Registered
from node.replica.corelog import CoreLog
from node.replica.driver import Driver
from node.replica.engine import Engines
from node.replica.journal import Journal, VoteLogJournal
from node.replica.mempool import Mempool
from node.replica.reporter import Reporter
from node.running import RunningNode
from node.storage.snapshotstore import SnapshotStore
from node.storage.store import Store
from node.storage.tables import REPAIR
from node.sync.checkers import Checkers
from node.sync.host import SyncParts
from node.watch import LOOK_EVERY_MS, Watch, free_size

logger = logging.getLogger(__name__)

CLOCK_TOLERANCE_MS: Final = 60_000
RECEIVE_TURN_MS: Final = 5

T = TypeVar("T")


class StartRefused(SetupError):
    """The node does not start."""

    def __init__(self, *, expected: str, found: str, cure: str) -> None:
        super().__init__(where="the node does not start", expected=expected, found=found, cure=cure)


@dataclass(frozen=True, slots=True)
class NodeParts:
    """Everything that a node is made of.

    `identity` is the one that the home began with. The others look in the home for the private half of what the chain
    registers, whenever it changes; they return None where it is not there.
    """

    member: str
    genesis: Genesis
    settings: NodeSettings
    identity: TlsIdentity
    find_identity: Callable[[bytes], TlsIdentity | None]
    list_identities: Callable[[], Sequence[str]]
    find_other_identities: Callable[[bytes, int], Sequence[TlsIdentity]]
    find_validator_key: Callable[[PublicKey], PrivateKey | None]
    find_member_key: Callable[[PublicKey], PrivateKey | None]
    data: Path
    texts: HeldTexts


class ApiServer(Protocol):
    """What serves clients."""

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        ...

    @property
    def accepting(self) -> asyncio.Task[None]:
        """What accepts connections, until `close`."""
        ...

    async def close(self) -> None:
        """Stop listening and end what is open."""
        ...


def load_parts(home: Home, protection: Protection) -> NodeParts:
    """Return the parts of the node that a home describes. Raises ConfigError or KeyFileError."""
    settings = home.require_node()
    home.check_modes()
    # A passphrase that is wrong is said now, not at the next rotation: it opens none of the TLS keys.
    identity = home.load_tls_identity(protection)
    _check_own_certificate(home, identity)
    _say_lost_member_key(home, protection)
    return NodeParts(
        member=home.member,
        genesis=home.genesis,
        settings=settings,
        identity=identity,
        find_identity=lambda certificate: _find_in(lambda: home.find_tls_identity(protection, certificate)),
        list_identities=home.tls_names,
        find_other_identities=lambda certificate, count_max: home.other_tls_identities(
            protection, certificate, count_max
        ),
        find_validator_key=lambda key: _find_in(lambda: home.find_validator_key(protection, key)),
        find_member_key=lambda key: _find_in(lambda: home.find_member_key(protection, key)),
        data=home.data,
        texts=_load_texts(home),
    )


def _load_texts(home: Home) -> HeldTexts:
    """Return the texts that a home serves. What is wrong with the rest is said, and stops no validator."""
    if home.texts is None:
        return HeldTexts()
    texts, wrong = hold_texts(home.texts)
    for error in wrong:
        logger.error("texts.unusable error=%s: it is not served", error)
    for packed in texts.bundles:
        logger.info("texts.served hash=%s size=%d", packed.hash.hex(), len(packed.encoded))
    return texts


def _find_in(find: Callable[[], T | None]) -> T | None:
    """Look for a key; one that may be in a file that does not open is missing, and said to be."""
    try:
        return find()
    except KeyFileError as error:
        logger.error("node.key_unreadable error=%s", error)
        return None


def _say_lost_member_key(home: Home, protection: Protection) -> None:
    try:
        home.load_member_key(protection)
    except KeyFileError as error:
        logger.error(
            "node.member_key_missing member=%s error=%s: it relays nothing for holders and reports no misbehaviour",
            home.member,
            error,
        )


def _check_own_certificate(home: Home, identity: TlsIdentity) -> None:
    """Check that genesis does not give this home's certificate to another member. Raises ConfigError."""
    for member in home.genesis.content.members:
        if member.node is None or member.node.tls_certificate != identity.certificate:
            continue
        if member.id != home.member:
            where = f"{home.path / NODE_FILE}: member"
            cure = "name the member whose keys lie in this home"
            raise ConfigError(
                where=where,
                expected=f"{member.id}, whose certificate this is",
                found=ascii(home.member),
                cure=cure,
            )


class NodeProcess:
    """One running node. `start`, then wait for `failed` or stop it."""

    def __init__(
        self,
        parts: NodeParts,
        make_api: Callable[[RunningNode], ApiServer],
        *,
        clock: Clock | None = None,
        delay_ms: float = 0.0,
    ) -> None:
        """Open store, vote log and core. Raises StartRefused, UnfitEnvironment, StoreError or VoteLogError.

        `delay_ms` holds back every message to a peer; it exists for measurement on loopback only.
        """
        self._parts = parts
        self._clock = clock or SystemClock()
        self._check_start()
        parts.data.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        self._reached = Reached(parts.data.parent / REACHED_FILE, parts.genesis.content.chain_id)
        self.store = self._open_store()
        self._snapshot_store = self._open_snapshot_store()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._pump: asyncio.Task[None] | None = None
        self._connected: set[str] = set()
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._registry = CollectorRegistry()
        self._measurements = measure_into(self._registry)
        self._pauses: asyncio.Task[None] | None = None
        self._looks: asyncio.Task[None] | None = None
        self._checkers = Checkers(self._signatures_checked)
        self._core_log = CoreLog(
            parts.data / CORE_LOG,
            chain_id=parts.genesis.content.chain_id,
            member=parts.member,
            clock=self._clock,
        )
        self._engines = Engines(
            member=parts.member,
            chain_id=parts.genesis.content.chain_id,
            tuning=parts.settings.tuning,
            find_key=parts.find_validator_key,
            open_journal=self._open_journal,
            reached_height=self._reached.height,
        )
        try:
            self._registered = Registered(
                self.store,
                member=parts.member,
                addresses=parts.settings.peers,
                first_identity=parts.identity,
                find_identity=parts.find_identity,
                list_identities=parts.list_identities,
                find_other_identities=parts.find_other_identities,
                find_member_key=parts.find_member_key,
            )
            self._network = self._make_network(delay_ms)
            self.driver = Driver(
                member=parts.member,
                engines=self._engines,
                chain=Chain(self.store),
                mempool=Mempool(),
                transport=self._network,
                clock=self._clock,
                on_final=self._became_final,
                on_refused=lambda transaction, error: self.node.was_refused(transaction, error),
                on_failure=self._fail,
                sync=SyncParts(
                    Pins(TrustedRoot(TRUST_VERSION, parts.genesis, ())),
                    self._snapshot_store,
                    checker=self._checkers,
                ),
                on_installed=self._was_installed,
                core_log=self._core_log,
                measurements=self._measurements,
            )
            self._reached.note(self.store.tip().header.height, is_last=True)
        except BaseException:
            self._core_log.close()
            self._engines.close()
            self._snapshot_store.close()
            self.store.close()
            self._lock.release()
            raise
        self._reporter = Reporter(
            member=parts.member,
            find_member_key=self._registered.member_key,
            driver=self.driver,
            clock=self._clock,
        )
        self.watch = Watch(
            member=parts.member,
            driver=self.driver,
            clock=self._clock,
            heartbeat_ms=parts.settings.tuning.heartbeat_interval_ms,
            free_size=lambda: free_size(parts.data),
            swallowing=self._network.swallowing,
            is_displaced=lambda: self._network.is_displaced,
        )
        self.node = RunningNode(
            genesis=parts.genesis,
            member=parts.member,
            driver=self.driver,
            store=self.store,
            clock=self._clock,
            registry=self._registry,
            find_member_key=self._registered.member_key,
            peers_connected=lambda: tuple(sorted(self._connected)),
            watch=self.watch,
            texts=parts.texts,
            on_damage=self._fail,
            measurements=self._measurements,
        )
        self._api = make_api(self.node)

    def _check_start(self) -> None:
        if not __debug__:
            raise StartRefused(
                expected="assertions",
                found="python -O, which removes them",
                cure="Start without -O and PYTHONOPTIMIZE.",
            )
        require_fit()
        genesis_ms, now_ms = self._parts.genesis.content.time_ms, self._clock.wall_ms()
        if now_ms < genesis_ms - CLOCK_TOLERANCE_MS:
            expected = f"a clock at or after the genesis time {genesis_ms}"
            raise StartRefused(expected=expected, found=f"{now_ms}", cure="Set the machine's clock.")

    def _take_lock(self) -> FileLock:
        try:
            return FileLock(self._parts.data / NODE_LOCK)
        except FileLocked as error:
            cure = "Stop the node that runs on this home, or ask it through --url."
            raise StartRefused(
                expected=f"{self._parts.data} to be free", found="another process that uses it", cure=cure
            ) from error

    def _open_store(self) -> Store:
        try:
            self.store = Store.open(self._parts.data / CHAIN, self._parts.genesis)
            try:
                self._check_rules()
            except RulesUnknown:
                self.store.close()
                raise
            return self.store
        except BaseException:
            self._lock.release()
            raise

    def _open_snapshot_store(self) -> SnapshotStore:
        try:
            return SnapshotStore.open(self._parts.data / SNAPSHOTS)
        except BaseException:
            self.store.close()
            self._lock.release()
            raise

    def _open_journal(self, epoch: int, has_voted: bool) -> tuple[Journal, tuple[JournalRecord, ...]]:
        journal, records, recovery = VoteLogJournal.open(
            self._parts.data / VOTES,
            chain_id=self._parts.genesis.content.chain_id,
            validator=self._parts.member,
            epoch=epoch,
            has_voted=has_voted,
        )
        if recovery.damage is not None:
            logger.error("votelog.damaged kind=%s detail=%s", recovery.damage.kind, recovery.damage.detail)
        if recovery.dropped_torn or recovery.repaired_copies_count:
            # A crash leaves a torn end; so does a cut file. The question at the start tells the two apart.
            logger.warning(
                "votelog.repaired torn_end=%s copies=%d",
                recovery.dropped_torn,
                recovery.repaired_copies_count,
            )
        return journal, records

    def _became_final(self, path: list[Executed]) -> None:
        if self._registered.is_changed_by(path):
            self._update_peers()
        self._reached.note(self.store.tip().header.height)
        self.node.became_final(path)
        self._check_rules()

    def _was_installed(self) -> None:
        self._update_peers()
        self._reached.note(self.store.tip().header.height)
        self.node.became_final([])
        self._check_rules()

    def _update_peers(self) -> None:
        """Pin what the state registers now, and show what it registers for this node."""
        try:
            identity = self._registered.identity()
        except IdentityMissing as missing:
            identity = None
            logger.error(
                "node.identity_missing member=%s: peers refuse this node: %s", self._parts.member, missing
            )
        self._network.update_peers(self._registered.peers(), identity)

    def _make_network(self, delay_ms: float) -> PeerNetwork:
        return PeerNetwork(
            node_id=self._parts.member,
            identity=self._registered.identity_to_begin_with(),
            chain_id=self._parts.genesis.content.chain_id,
            peers=self._registered.peers(),
            random_source=random.SystemRandom(),
            other_identities=self._registered.other_identities,
            on_peer_up=self._peer_up,
            on_peer_down=self._peer_down,
            on_unpinned_up=lambda peer: self._guarded(lambda: self.driver.peer_up(peer)),
            on_unpinned_down=lambda peer: self._guarded(lambda: self.driver.peer_down(peer)),
            delay_ms=delay_ms,
        )

    async def start(self) -> None:
        """Listen for peers and clients, and take part."""
        listen, api = self._parts.settings.listen, self._parts.settings.api
        await self._network.start(host=listen.host, port=listen.port)
        loop = asyncio.get_running_loop()
        self._pump = loop.create_task(self._receive_forever())
        self._pauses = loop.create_task(watch_pauses(self._clock, self._measurements.loop_pause))
        self._guarded(self.driver.start)
        self._looks = loop.create_task(self._look_forever())
        await self._api.start(api.host, api.port)
        for task in (self._pump, self._pauses, self._looks, self._api.accepting):
            task.add_done_callback(self._has_ended)
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
        await self._checkers.close()
        if self._timer is not None:
            self._timer.cancel()
        started = [task for task in (self._pump, self._pauses, self._looks) if task is not None]
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)
        await self._network.close()
        self._engines.close()
        self.driver.close()
        self._core_log.close()
        self._snapshot_store.close()
        self._reached.note(self.store.tip().header.height, is_last=True)
        self.store.close()
        self._lock.release()
        logger.info("node.ended member=%s", self._parts.member)

    async def _receive_forever(self) -> None:
        turn_ends_ms = 0
        async for peer, data in self._network.messages():
            if self._clock.monotonic_ms() >= turn_ends_ms:
                # Where messages wait, taking one does not yield: whoever sends many would own the loop.
                await asyncio.sleep(0)
                turn_ends_ms = self._clock.monotonic_ms() + RECEIVE_TURN_MS
            self._guarded(lambda peer=peer, data=data: self.driver.receive(peer, data))  # type: ignore[misc]

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_MS / 1_000)
            self._guarded(self.watch.tell)

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
            if self._reporter.is_needed:
                self._reporter.report()
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

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        """End the node where a task of it failed: a node that hears or serves nobody any more must not live on."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _tick(self) -> None:
        self._timer = None
        self._guarded(self.driver.tick)

    def _signatures_checked(self) -> None:
        self._guarded(self.driver.tick)

    def _check_rules(self) -> None:
        """Stop where this release does not know the rules of the next block. Raises RulesUnknown."""
        try:
            check_protocol(require_parameters(self.store), self.store.tip().header.height + 1)
        except UnknownProtocol as error:
            raise _rules_unknown(error) from error

    def _fail(self, error: BaseException) -> None:
        if self.failed.done():
            return
        if isinstance(error, UnknownProtocol):
            # A block above what is final here was about to be built or executed.
            error = _rules_unknown(error)
        if isinstance(error, StatePageError):
            error = StoreError(expected=f"an intact {error.where}", found=error.found, cure=REPAIR)
        logger.critical("node.failed error=%r", error)
        if isinstance(error, StoreError) and error.cure == REPAIR:
            logger.critical("node.damaged cure=%s", f"luohu node repair --home {self._parts.data.parent}")
        self.failed.set_result(error)


def _rules_unknown(error: UnknownProtocol) -> RulesUnknown:
    cure = (
        "Install the release that knows these rules, and start again: nothing here is lost or to be repaired."
    )
    return RulesUnknown(where=error.where, expected=error.expected, found=error.found, cure=cure)


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
