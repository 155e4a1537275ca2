"""The transactions of the blocks that are not final, by block and by id (docs/decisions/0007).

Rule 1: a block names its transactions first; their bodies come later, from anywhere, each kept with every block
that names it.
Rule 2: taking and finding one costs the same however many blocks and transactions there are: anybody may send
some.
Rule 3: what no block here names is not kept.
"""

from collections.abc import Collection, Iterable, Mapping

from ledger.rules.transactions import Transaction


class Bodies:
    """Bodies by the blocks that name them."""

    def __init__(self) -> None:
        self._of_block: dict[bytes, dict[bytes, Transaction]] = {}
        self._ids: dict[bytes, tuple[bytes, ...]] = {}
        self._naming: dict[bytes, set[bytes]] = {}

    def name(self, block_hash: bytes, ids: tuple[bytes, ...]) -> None:
        """Take note of the transactions of a block; of a known one, nothing changes."""
        if block_hash in self._ids:
            return
        self._ids[block_hash] = ids
        self._of_block[block_hash] = {}
        for identity in ids:
            self._naming.setdefault(identity, set()).add(block_hash)

    def take(self, transaction: Transaction) -> bool:
        """Keep a transaction with the blocks that name it; say whether any does."""
        blocks = self._naming.get(transaction.id, ())
        for block_hash in blocks:
            self._of_block[block_hash][transaction.id] = transaction
        return bool(blocks)

    def is_wanted(self, transaction_id: bytes) -> bool:
        """Say whether a block names a transaction that is not here."""
        return transaction_id in self._naming and self.find(transaction_id) is None

    def missing(self, block_hash: bytes) -> list[bytes]:
        """Return the ids of a block's transactions that are not here, in its order."""
        here = self._of_block.get(block_hash, {})
        ids = self._ids.get(block_hash, ())
        return [] if len(here) == len(ids) else [identity for identity in ids if identity not in here]

    def of_block(self, block_hash: bytes) -> Mapping[bytes, Transaction]:
        """Return the transactions of a block that are here."""
        return self._of_block.get(block_hash, {})

    def find(self, transaction_id: bytes) -> Transaction | None:
        """Return a transaction of any block."""
        for block_hash in self._naming.get(transaction_id, ()):
            found = self._of_block[block_hash].get(transaction_id)
            if found is not None:
                return found
        return None

    def keep(self, block_hashes: Collection[bytes]) -> None:
        """Forget every block but these."""
        self._forget([block_hash for block_hash in self._ids if block_hash not in block_hashes])

    def _forget(self, block_hashes: Iterable[bytes]) -> None:
        for block_hash in block_hashes:
            del self._of_block[block_hash]
            for identity in self._ids.pop(block_hash):
                naming = self._naming[identity]
                naming.discard(block_hash)
                if not naming:
                    del self._naming[identity]
