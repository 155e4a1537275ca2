"""Bodies of blocks that are not final: kept with every block that names them, forgotten with the last."""

import time

from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction
from node.chain.bodies import Bodies
from tests.support.consortium import REPORT, hash_of, make_transaction

ONE, TWO = hash_of("block 1"), hash_of("block 2")


def transaction(number: int) -> Transaction:
    return make_transaction("hk-bureau", AnchorBatch(hash_of(f"root {number}"), 1, REPORT, None))


FIRST, SECOND, OTHER = transaction(1), transaction(2), transaction(3)


def named() -> Bodies:
    bodies = Bodies()
    bodies.name(ONE, (FIRST.id, SECOND.id))
    bodies.name(TWO, (SECOND.id,))
    return bodies


def test_a_body_is_kept_with_every_block_that_names_it() -> None:
    bodies = named()
    assert bodies.missing(ONE) == [FIRST.id, SECOND.id]
    assert bodies.take(SECOND)
    assert bodies.missing(ONE) == [FIRST.id]
    assert bodies.missing(TWO) == []
    assert bodies.of_block(ONE) == bodies.of_block(TWO) == {SECOND.id: SECOND}
    assert bodies.find(SECOND.id) is SECOND and bodies.find(FIRST.id) is None


def test_what_no_block_names_is_not_kept() -> None:
    bodies = named()
    assert not bodies.take(OTHER)
    assert bodies.find(OTHER.id) is None


def test_a_body_lives_as_long_as_the_last_block_that_names_it() -> None:
    bodies = named()
    bodies.take(SECOND)
    bodies.keep({TWO})
    assert bodies.missing(ONE) == [] and bodies.of_block(ONE) == {}
    assert bodies.find(SECOND.id) is SECOND
    bodies.keep(())
    assert bodies.find(SECOND.id) is None
    assert not bodies.take(SECOND) and not bodies.take(FIRST)


def test_naming_a_block_again_forgets_nothing() -> None:
    bodies = named()
    bodies.take(FIRST)
    bodies.name(ONE, (FIRST.id, SECOND.id))
    assert bodies.missing(ONE) == [SECOND.id]


def test_taking_costs_the_same_with_few_large_blocks_as_with_many() -> None:
    bodies, empty = Bodies(), Bodies()
    for block in range(64):
        bodies.name(hash_of(f"large {block}"), tuple(hash_of(f"id {block} {n}") for n in range(512)))

    def cost(of: Bodies) -> float:
        before = time.perf_counter()
        for _ in range(2_000):
            of.take(OTHER)
        return time.perf_counter() - before

    # Looking through 64 blocks of 512 would cost hundreds of times as much.
    assert min(cost(bodies) for _ in range(3)) < 20 * min(cost(empty) for _ in range(3))
