"""The block budget follows what transactions cost and how soon blocks become final, within its bounds."""

from node.replica.blockbudget import (
    COUNT_MIN,
    FIRST_GUESS_MS,
    INTERVAL_MS,
    NOTED_COUNT_MIN,
    TARGET_MS_MAX,
    TARGET_MS_MIN,
    BlockBudget,
)
from node.replica.mempool import PICK_COUNT_MAX

FULL = 1_000


def finalize(
    budget: BlockBudget, *, blocks_count: int, interval_ms: int, count: int = FULL, step: int = 1
) -> None:
    """Make blocks final at even intervals, `step` views apart."""
    for number in range(1, blocks_count + 1):
        budget.note_final(step * number, count, interval_ms * number)


def test_a_node_that_knows_nothing_begins_with_a_guess_and_the_least_target() -> None:
    assert BlockBudget().count_max == TARGET_MS_MIN / FIRST_GUESS_MS


def test_the_budget_settles_where_a_block_costs_the_target() -> None:
    budget = BlockBudget()
    finalize(budget, blocks_count=40, interval_ms=INTERVAL_MS)
    for _ in range(40):
        count = min(4_000, budget.count_max)
        budget.note(count, count // 5)
    assert abs(budget.count_max - 5 * TARGET_MS_MAX) <= 0.1 * 5 * TARGET_MS_MAX


def test_where_full_blocks_take_long_they_become_smaller_and_grow_again() -> None:
    budget = BlockBudget()
    finalize(budget, blocks_count=40, interval_ms=INTERVAL_MS)
    assert budget.count_max == int(TARGET_MS_MAX / FIRST_GUESS_MS)
    finalize(budget, blocks_count=40, interval_ms=INTERVAL_MS + 1)
    assert budget.count_max == TARGET_MS_MIN / FIRST_GUESS_MS
    finalize(budget, blocks_count=40, interval_ms=INTERVAL_MS)
    assert budget.count_max == int(TARGET_MS_MAX / FIRST_GUESS_MS)


def test_neither_a_small_block_nor_a_lost_view_says_how_long_a_full_one_takes() -> None:
    budget = BlockBudget()
    finalize(budget, blocks_count=40, interval_ms=INTERVAL_MS)
    full = budget.count_max
    finalize(budget, blocks_count=40, interval_ms=10 * INTERVAL_MS, count=NOTED_COUNT_MIN - 1)
    assert budget.count_max == full
    finalize(budget, blocks_count=40, interval_ms=10 * INTERVAL_MS, step=2)
    assert budget.count_max == full


def test_cheap_transactions_are_taken_by_the_thousand_and_dear_ones_by_the_minimum() -> None:
    cheap, dear = BlockBudget(), BlockBudget()
    for _ in range(40):
        cheap.note(1_000, 0)
        dear.note(100, 10_000)
    assert cheap.count_max == PICK_COUNT_MAX
    assert dear.count_max == COUNT_MIN


def test_a_small_block_says_nothing_of_what_a_transaction_costs() -> None:
    budget = BlockBudget()
    budget.note(NOTED_COUNT_MIN - 1, 10_000)
    assert budget.count_max == TARGET_MS_MIN / FIRST_GUESS_MS
    budget.note(NOTED_COUNT_MIN, 10_000)
    assert budget.count_max == COUNT_MIN
