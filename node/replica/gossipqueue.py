"""Transactions that peers sent and that nobody has looked at yet.

Looking at one costs a signature check, which is dear; taking one in costs next to nothing. So they wait here, and
are looked at a few at a time, between the messages of consensus.

Rule 1: what waits is bounded, for each peer and in all. What does not fit is dropped: gossip is a favour, and a
proposal's transactions are asked for.
Rule 2: they are taken in turn from the peers, so that one peer's flood costs the others one transaction each.
Rule 3: a transaction waits once, under whoever sent it first.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

PEER_COUNT_MAX: Final = 8_192
PEER_SIZE_MAX: Final = 4 * 1024 * 1024
SIZE_MAX: Final = 32 * 1024 * 1024


class GossipQueue:
    """What waits, by peer and by id."""

    def __init__(self) -> None:
        self._of_peer: OrderedDict[str, OrderedDict[bytes, bytes]] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._peers: dict[bytes, str] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._peers)

    def put(self, peer: str, transaction_id: bytes, encoded: bytes) -> bool:
        """Let a transaction wait; say whether there was room, or it waits already."""
        if transaction_id in self._peers:
            return True
        waiting = self._of_peer.get(peer, OrderedDict())
        size = self._sizes.get(peer, 0) + len(encoded)
        if len(waiting) >= PEER_COUNT_MAX or size > PEER_SIZE_MAX or self.size + len(encoded) > SIZE_MAX:
            return False
        waiting[transaction_id] = encoded
        self._of_peer[peer] = waiting
        self._sizes[peer] = size
        self._peers[transaction_id] = peer
        self.size += len(encoded)
        return True

    def take(self, count_max: int) -> Iterator[tuple[str, bytes]]:
        """Take up to that many, going round the peers, oldest of each first; a peer may be forgotten meanwhile."""
        taken_count = 0
        while self._of_peer and taken_count < count_max:
            taken_count += 1
            peer, waiting = next(iter(self._of_peer.items()))
            encoded = self._remove(peer, next(iter(waiting)))
            if peer in self._of_peer:
                self._of_peer.move_to_end(peer)
            yield peer, encoded

    def pop(self, transaction_id: bytes) -> bytes | None:
        """Take one by its id, out of turn."""
        peer = self._peers.get(transaction_id)
        return None if peer is None else self._remove(peer, transaction_id)

    def forget(self, peer: str) -> None:
        """Drop what waits of one peer."""
        for transaction_id in list(self._of_peer.get(peer, ())):
            self._remove(peer, transaction_id)

    def _remove(self, peer: str, transaction_id: bytes) -> bytes:
        encoded = self._of_peer[peer].pop(transaction_id)
        del self._peers[transaction_id]
        self._sizes[peer] -= len(encoded)
        self.size -= len(encoded)
        if not self._of_peer[peer]:
            del self._of_peer[peer]
            del self._sizes[peer]
        return encoded
