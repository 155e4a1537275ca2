"""The mempool: transactions that wait for a block.

Rule 1: bounded by count and bytes, and each member by its share of both, so one cannot crowd out the others.
Rule 2: picking goes round the members, oldest transaction of each first. A transaction that does not fit
ends its own member's turn, not that of the others.
Rule 3: what can no longer be recorded is dropped.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Set
from typing import Final

from ledger.rules.transactions import Transaction
from node.errors import MempoolError

COUNT_MAX: Final = 20_000
SIZE_MAX: Final = 64 * 1024 * 1024
SENDER_SHARE: Final = 4
PICK_COUNT_MAX: Final = 8_192
PICK_SIZE_MAX: Final = 4 * 1024 * 1024


class Mempool:
    """Waiting transactions, by id and by sender."""

    def __init__(self, *, count_max: int = COUNT_MAX, size_max: int = SIZE_MAX) -> None:
        assert count_max >= SENDER_SHARE, "each member's share is at least one transaction"
        self._count_max = count_max
        self._size_max = size_max
        self._by_id: dict[bytes, Transaction] = {}
        self._by_sender: OrderedDict[str, OrderedDict[bytes, Transaction]] = OrderedDict()
        self._sender_sizes: dict[str, int] = {}
        # No transaction that waits expires before this time.
        self._expiry_min_ms = 0
        self.size = 0

    @property
    def count(self) -> int:
        """How many transactions wait."""
        return len(self._by_id)

    def find(self, transaction_id: bytes) -> Transaction | None:
        """Return a waiting transaction."""
        return self._by_id.get(transaction_id)

    def ids(self) -> Iterable[bytes]:
        """Return the ids of all that wait."""
        return self._by_id.keys()

    def check_room(self, transaction: Transaction) -> None:
        """Check that a transaction that is not here would be taken. Raises MempoolError."""
        sender, size = transaction.body.sender, len(transaction.encoded)
        queue_count = len(self._by_sender.get(sender, ()))
        sender_size = self._sender_sizes.get(sender, 0)
        count_share, size_share = self._count_max // SENDER_SHARE, self._size_max // SENDER_SHARE
        if queue_count >= count_share or sender_size + size > size_share:
            found = f"{queue_count} of {sender} with {sender_size} bytes"
            expected = f"at most {count_share} transactions and {size_share} bytes of one member"
            raise MempoolError(
                code="mempool-share", expected=expected, found=found, cure="wait until some of them are final"
            )
        if len(self._by_id) >= self._count_max or self.size + size > self._size_max:
            expected = f"at most {self._count_max} transactions and {self._size_max} bytes"
            raise MempoolError(
                code="mempool-full", expected=expected, found="no room", cure="send it again in a moment"
            )

    def add(self, transaction: Transaction) -> None:
        """Take a transaction that was checked. Raises MempoolError where there is no room."""
        if transaction.id in self._by_id:
            return
        self.check_room(transaction)
        sender, size = transaction.body.sender, len(transaction.encoded)
        expiry_ms = transaction.body.valid_until_ms
        self._expiry_min_ms = min(self._expiry_min_ms, expiry_ms) if self._by_id else expiry_ms
        self._by_sender.setdefault(sender, OrderedDict())[transaction.id] = transaction
        self._sender_sizes[sender] = self._sender_sizes.get(sender, 0) + size
        self._by_id[transaction.id] = transaction
        self.size += size

    def pick(
        self,
        *,
        count_max: int = PICK_COUNT_MAX,
        size_max: int = PICK_SIZE_MAX,
        excluded: Set[bytes] = frozenset(),
    ) -> list[Transaction]:
        """Return what to try for the next block, going round the members.

        The `excluded` ids (in blocks that are not final, say) are passed over and use up neither limit.
        """
        turns = [self._waiting(queue, excluded) for queue in self._by_sender.values()]
        picked: list[Transaction] = []
        size = 0
        while turns:
            still: list[Iterator[Transaction]] = []
            for turn in turns:
                if len(picked) >= count_max:
                    still = []
                    break
                transaction = next(turn, None)
                if transaction is None or size + len(transaction.encoded) > size_max:
                    continue
                size += len(transaction.encoded)
                picked.append(transaction)
                still.append(turn)
            turns = still
        if self._by_sender:
            self._by_sender.move_to_end(next(iter(self._by_sender)))
        return picked

    @staticmethod
    def _waiting(queue: OrderedDict[bytes, Transaction], excluded: Set[bytes]) -> Iterator[Transaction]:
        return (transaction for identity, transaction in queue.items() if identity not in excluded)

    def remove(self, ids: Iterable[bytes]) -> None:
        """Drop transactions that are final or refused."""
        for identity in ids:
            transaction = self._by_id.pop(identity, None)
            if transaction is None:
                continue
            sender, size = transaction.body.sender, len(transaction.encoded)
            queue = self._by_sender[sender]
            del queue[identity]
            self._sender_sizes[sender] -= size
            self.size -= size
            if not queue:
                del self._by_sender[sender]
                del self._sender_sizes[sender]

    def clear(self) -> None:
        """Drop everything."""
        self.remove(list(self._by_id))

    def expire(self, now_ms: int) -> list[Transaction]:
        """Drop and return what may no longer be recorded at this time."""
        if not self._by_id or now_ms <= self._expiry_min_ms:
            return []
        expired = [each for each in self._by_id.values() if each.body.valid_until_ms < now_ms]
        self.remove([transaction.id for transaction in expired])
        self._expiry_min_ms = min((each.body.valid_until_ms for each in self._by_id.values()), default=0)
        return expired
