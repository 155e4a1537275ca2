"""How many transactions a block may hold, so that one member's thousands do not cost everybody a second.

Every validator executes a block before it votes, so what building costs here, checking costs there. The budget
follows what building cost lately. It is local: another leader may think otherwise, and every block within the
chain's limits is valid.

Rule 1: a block is to cost TARGET_MS to build. Its count lies between COUNT_MIN and what the mempool gives.
Rule 2: small blocks say nothing: their cost is that of a block, not of a transaction.
"""

from typing import Final

from node.mempool import PICK_COUNT_MAX

TARGET_MS: Final = 100
COUNT_MIN: Final = 128
NOTED_COUNT_MIN: Final = 64
FIRST_GUESS_MS: Final = 0.2
_WEIGHT: Final = 0.3


class BlockBudget:
    """The cost of a transaction, as the last blocks had it."""

    def __init__(self) -> None:
        self._transaction_ms = FIRST_GUESS_MS

    def note(self, count: int, spent_ms: int) -> None:
        """Take note of what building a block from that many candidates cost."""
        if count >= NOTED_COUNT_MIN:
            self._transaction_ms += _WEIGHT * (spent_ms / count - self._transaction_ms)

    @property
    def count_max(self) -> int:
        """How many candidates the next block may be built from, at most PICK_COUNT_MAX."""
        if self._transaction_ms * PICK_COUNT_MAX <= TARGET_MS:
            return PICK_COUNT_MAX
        return max(COUNT_MIN, int(TARGET_MS / self._transaction_ms))
