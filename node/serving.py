"""What a node tells its peers when they ask: transactions, blocks, and final blocks from a height on.

Rule 1: an answer holds what is here, within the bounds of its message; what is not here is not answered.
Rule 2: final blocks go no further than a seal. The asker trusts one validator set, and learns the next by
executing the seal.
"""

from collections.abc import Callable, Iterable, Iterator

from ledger.transactions import Transaction
from node.chain import Chain, stored
from node.mempool import Mempool
from node.messages import (
    CATCH_UP_BLOCKS_MAX,
    CATCH_UP_SIZE_MAX,
    GOSSIP_SIZE_MAX,
    FinalBlocks,
    Gossip,
    PeerMessage,
    WantBlock,
    WantFinal,
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

    def final_blocks(self, peer: str, question: WantFinal) -> None:
        """Send consecutive final blocks that end with one that was finalized directly."""
        store = self._chain.store
        blocks = store.blocks_from(question.height, CATCH_UP_BLOCKS_MAX, CATCH_UP_SIZE_MAX)
        seals = (index for index, block in enumerate(blocks) if block.header.is_seal)
        blocks = blocks[: next(seals, len(blocks)) + 1]
        while blocks:
            certificate = store.find_certificate(blocks[-1].header.height)
            if certificate is not None:
                tip_height = self._chain.tip.header.height
                self._send(peer, FinalBlocks(tuple(map(stored, blocks)), certificate, tip_height))
                return
            blocks.pop()


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
