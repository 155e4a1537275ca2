"""What catching up needs of its node, and the times and sizes that it goes by."""

from dataclasses import dataclass, field
from typing import Protocol

from ledger.chain.overlays import Executed
from ledger.chain.snapshots import CHUNK_LEAVES_SIZE, SNAPSHOT_INTERVAL
from ledger.rules.certificates import QuorumCertificate
from ledger.trust import Pins
from node.messages import SyncAnswer, SyncRequest
from node.storage.snapshotstore import SnapshotStore
from node.sync.prevalidation import Checker


class SyncHost(Protocol):
    """The node, as its sync sees it."""

    def is_behind(self) -> bool:
        """Say whether something is final that is not here."""
        ...

    def send(self, peer: str, message: SyncRequest | SyncAnswer) -> bool:
        """Queue a message for a peer; False where it is not connected."""
        ...

    def disconnect(self, peer: str, reason: str) -> None:
        """Disconnect a peer for a time."""
        ...

    def commit_final(
        self, path: list[Executed], certificate: QuorumCertificate | None, proof: QuorumCertificate
    ) -> None:
        """Make executed blocks on the tip final. It was verified that they are: by `certificate` over the last,

        or by the history of a later block, over which `proof` then is.
        """
        ...

    def stop_error(self, reason: str) -> Exception:
        """Return the error to raise where an invariant is broken: it ends the node."""
        ...

    def installed(self) -> None:
        """Go on from the store's new tip: a snapshot was installed."""
        ...


@dataclass(frozen=True, slots=True)
class SyncTuning:
    """Times in milliseconds, counts of blocks, and the distance from which a snapshot is worth it."""

    span: int = 32
    spans_max: int = 8
    reply_ms: int = 5_000
    offers_ms: int = 3_000
    offers_again_ms: int = 3_000
    ask_again_ms: int = 500
    probe_ms: int = 5_000
    report_ms: int = 5_000
    retry_offers_ms: int = 60_000
    retry_offers_stalled_ms: int = 5_000
    switch_ms: int = 6_000
    abandon_ms: int = 30_000
    avoid_ms: int = 300_000
    snapshot_distance: int = 2 * SNAPSHOT_INTERVAL


@dataclass(frozen=True, slots=True)
class SyncParts:
    """What a node's sync is made of. Tests shorten the interval and the chunks; on one chain they are the same.

    Without a checker signatures are checked in turn.
    """

    pins: Pins
    snapshot_store: SnapshotStore
    tuning: SyncTuning = field(default_factory=SyncTuning)
    interval: int = SNAPSHOT_INTERVAL
    chunk_size: int = CHUNK_LEAVES_SIZE
    checker: Checker | None = None
