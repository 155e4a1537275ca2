"""What a replica says to its peers, and whom it stops listening to.

Rule 1: to a peer that no register names goes what fetching needs, and nothing else.
Rule 2: an offence costs its author the connection for OFFENCE_S. With four validators a ban for good could cost the
quorum (docs/consensus.md, C19).
"""

import logging
from typing import Final, Protocol

from ledger.errors import LedgerError
from node.messages import PeerMessage, SyncRequest, encode_peer_message
from node.peernames import is_unpinned

logger = logging.getLogger(__name__)

OFFENCE_S: Final = 10.0
REASON_SIZE_MAX: Final = 200


class Transport(Protocol):
    """What a replica needs of the network."""

    def send(self, peer_id: str, data: bytes) -> bool:
        """Queue a message for one peer; False when it is not connected."""
        ...

    def broadcast(self, data: bytes) -> int:
        """Queue a message for every connected peer."""
        ...

    def disconnect(self, peer_id: str, reason: str, seconds: float) -> None:
        """Refuse a peer for a time."""
        ...


class Messenger:
    """One replica's way to its peers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.connected: set[str] = set()
        """The registered peers that are connected."""

    def send(self, peer: str, message: PeerMessage) -> bool:
        """Queue a message for a peer; False where it is not connected."""
        assert not is_unpinned(peer) or isinstance(message, SyncRequest), "from strangers we only fetch"
        return self._transport.send(peer, encode_peer_message(message))

    def broadcast(self, message: PeerMessage) -> None:
        """Queue a message for every connected peer."""
        self._transport.broadcast(encode_peer_message(message))

    def disconnect(self, peer: str, reason: str) -> None:
        """Disconnect a peer for a time."""
        self._transport.disconnect(peer, reason, OFFENCE_S)

    def note_offence(self, peer: str, error: LedgerError) -> None:
        """Disconnect a peer that broke a rule, and say which."""
        logger.warning("peer.offence peer=%s error=%s", peer, error)
        self.disconnect(peer, str(error)[:REASON_SIZE_MAX])
