"""What a node tells its peers when they lack transactions, blocks or a seal (catching up: `node.sync.server`).

Rule 1: an answer holds what is here, within the bounds of its message; what is not here is not answered.
Rule 2: whoever says that it stands in an ended epoch is told that epoch's seal, once in SEAL_AGAIN_MS
(docs/epochs.md). Nothing else of an ended epoch is answered, so two nodes past a seal never answer each other.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ledger.rules.transactions import Transaction
from node.chain.chain import Chain
from node.consensus.messages import (
    CertificateMessage,
    CertificateRequest,
    LatestVoteRequest,
    Message,
    StatusMessage,
    encode_message,
)
from node.messages import (
    GOSSIP_SIZE_MAX,
    Consensus,
    Gossip,
    PeerMessage,
    WantBlock,
    WantTransactions,
)
from node.replica.mempool import Mempool

SEAL_AGAIN_MS: Final = 1_000


class Serving:
    """Answers connected peers from chain and mempool."""

    def __init__(self, send: Callable[[str, PeerMessage], object], chain: Chain, mempool: Mempool) -> None:
        self._send = send
        self._chain = chain
        self._mempool = mempool
        self._seal_due_ms: dict[str, int] = {}

    def forget(self, peer: str) -> None:
        """Take note of a lost connection: what was sent on it may be lost."""
        self._seal_due_ms.pop(peer, None)

    def transactions(self, peer: str, question: WantTransactions) -> None:
        """Send the bodies that are here."""
        found = (self._mempool.find(each) or self._chain.find_body(each) for each in question.ids)
        for gossip in gossips(each for each in found if each is not None):
            self._send(peer, gossip)

    def block(self, peer: str, question: WantBlock) -> None:
        """Send a whole block, final or not."""
        block = self._chain.stored_block(question.block_hash)
        if block is not None:
            self._send(peer, block)

    def seal(self, peer: str, message: Message, now_ms: int) -> None:
        """Send the finalization of the seal of an ended epoch, where the message says that its sender is there."""
        if not isinstance(message, StatusMessage | CertificateRequest | LatestVoteRequest):
            return
        if now_ms < self._seal_due_ms.get(peer, now_ms):
            return
        # A seal that is not here costs a look, too.
        self._seal_due_ms[peer] = now_ms + SEAL_AGAIN_MS
        handover = self._chain.store.find_handover(message.epoch)
        if handover is not None:
            self._send(peer, Consensus(encode_message(CertificateMessage(handover.seal.certificate))))


def gossips(transactions: Iterable[Transaction]) -> Iterator[Gossip]:
    """Yield messages of at most GOSSIP_SIZE_MAX bytes (or one transaction) that hold all of these."""
    batch: list[bytes] = []
    size = 0
    for transaction in transactions:
        if batch and size + len(transaction.encoded) > GOSSIP_SIZE_MAX:
            yield Gossip(tuple(batch))
            batch, size = [], 0
        batch.append(transaction.encoded)
        size += len(transaction.encoded)
    if batch:
        yield Gossip(tuple(batch))
