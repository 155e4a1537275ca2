"""The block budget follows what transactions cost, within its bounds."""

from node.blockbudget import COUNT_MIN, FIRST_GUESS_MS, NOTED_COUNT_MIN, TARGET_MS, BlockBudget
from node.mempool import PICK_COUNT_MAX


def test_a_node_that_knows_nothing_begins_with_a_guess() -> None:
    assert BlockBudget().count_max == TARGET_MS / FIRST_GUESS_MS


def test_the_budget_settles_where_a_block_costs_the_target() -> None:
    budget = BlockBudget()
    for _ in range(40):
        count = min(4_000, budget.count_max)
        budget.note(count, count // 5)
    assert abs(budget.count_max - 5 * TARGET_MS) <= 0.1 * 5 * TARGET_MS


def test_cheap_transactions_are_taken_by_the_thousand_and_dear_ones_by_the_minimum() -> None:
    cheap, dear = BlockBudget(), BlockBudget()
    for _ in range(40):
        cheap.note(1_000, 0)
        dear.note(100, 10_000)
    assert cheap.count_max == PICK_COUNT_MAX
    assert dear.count_max == COUNT_MIN


def test_a_small_block_says_nothing() -> None:
    budget = BlockBudget()
    budget.note(NOTED_COUNT_MIN - 1, 10_000)
    assert budget.count_max == TARGET_MS / FIRST_GUESS_MS
    budget.note(NOTED_COUNT_MIN, 10_000)
    assert budget.count_max == COUNT_MIN
