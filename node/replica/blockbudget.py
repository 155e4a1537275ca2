"""How many transactions a block may hold, so that one member's thousands do not cost everybody a second.

Every validator executes a block before it votes, so what building costs here, checking costs there. Whoever waits for
a transaction waits for some three blocks. The budget follows what building cost lately, and how soon full blocks became
final after one another: where processors are shared or validators slow, blocks are to be smaller. It is local: another
leader may think otherwise, and every block within the chain's limits is valid.

Rule 1: a block is to cost a target to build, of TARGET_MS_MIN to TARGET_MS_MAX. Its count lies between COUNT_MIN and
what the mempool gives.
Rule 2: the target is such that a full block is final INTERVAL_MS after the one before. It begins at its least, so that
the first thousands teach before they cost.
Rule 3: small blocks say nothing: their cost is that of a block, not of a transaction. Nor does an interval in which a
view was lost: that was a leader's absence.
"""

from typing import Final

from node.replica.mempool import PICK_COUNT_MAX

INTERVAL_MS: Final = 150
TARGET_MS_MIN: Final = 25
TARGET_MS_MAX: Final = 100
COUNT_MIN: Final = 64
NOTED_COUNT_MIN: Final = 64
FIRST_GUESS_MS: Final = 0.2
_WEIGHT: Final = 0.3
_STEP_DOWN: Final = 0.8
_STEP_UP: Final = 1.1

assert NOTED_COUNT_MIN <= COUNT_MIN, "a budget at its least still learns"


class BlockBudget:
    """The cost of a transaction, and what a block may cost, as the last blocks had it."""

    def __init__(self) -> None:
        self._transaction_ms = FIRST_GUESS_MS
        self._target_ms: float = TARGET_MS_MIN
        self._final_view = 0
        self._final_at_ms = 0

    def note(self, count: int, spent_ms: int) -> None:
        """Take note of what building a block from that many candidates cost."""
        if count >= NOTED_COUNT_MIN:
            self._transaction_ms += _WEIGHT * (spent_ms / count - self._transaction_ms)

    def note_final(self, view: int, count: int, now_ms: int) -> None:
        """Take note of a final block with that many transactions."""
        interval_ms, is_next = now_ms - self._final_at_ms, view == self._final_view + 1
        self._final_view, self._final_at_ms = view, now_ms
        if count < NOTED_COUNT_MIN or not is_next:
            return
        step = _STEP_DOWN if interval_ms > INTERVAL_MS else _STEP_UP
        self._target_ms = min(max(self._target_ms * step, TARGET_MS_MIN), TARGET_MS_MAX)

    @property
    def count_max(self) -> int:
        """How many candidates the next block may be built from, at most PICK_COUNT_MAX."""
        if self._transaction_ms * PICK_COUNT_MAX <= self._target_ms:
            return PICK_COUNT_MAX
        return max(COUNT_MIN, int(self._target_ms / self._transaction_ms))
