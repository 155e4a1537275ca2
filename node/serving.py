"""What a node tells its peers when they ask for transactions and blocks (those who catch up: `node.sync.server`).

Rule 1: an answer holds what is here, within the bounds of its message; what is not here is not answered.
"""

from collections.abc import Callable, Iterable, Iterator

from ledger.transactions import Transaction
from node.chain import Chain
from node.mempool import Mempool
from node.messages import (
    GOSSIP_SIZE_MAX,
    Gossip,
    PeerMessage,
    WantBlock,
    WantTransactions,
)


class Serving:
    """Answers peers from chain and mempool."""

    def __init__(self, send: Callable[[str, PeerMessage], None], chain: Chain, mempool: Mempool) -> None:
        self._send = send
        self._chain = chain
        self._mempool = mempool

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
