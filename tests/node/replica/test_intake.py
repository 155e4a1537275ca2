"""Where plenty waits, looking at more takes a quarter of the time; where it does not, nothing rests."""

from typing import cast

from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction
from node.chain.chain import Chain
from node.replica.intake import GOSSIP_PER_TICK_MAX, PLENTY_COUNT, REST_FACTOR, Intake
from node.replica.mempool import Mempool
from tests.support.consortium import REPORT, hash_of, make_transaction

LOOK_MS = 1
MADE = [
    make_transaction("hk-bureau", AnchorBatch(hash_of(f"{number}"), 1, REPORT, None))
    for number in range(PLENTY_COUNT + 3 * GOSSIP_PER_TICK_MAX)
]


class World:
    """A clock, and a chain on which looking at one transaction takes LOOK_MS."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.store = self

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    def find_transaction(self, _identity: bytes) -> None:
        return None

    def check_transaction(self, _transaction: Transaction, _now_ms: int) -> None:
        self.now_ms += LOOK_MS


def make_intake(world: World, *, waiting_count: int) -> Intake:
    intake = Intake(
        chain=cast("Chain", world),
        mempool=Mempool(),
        clock=world,
        broadcast=lambda _gossip: None,
        note_offence=lambda _peer, _error: None,
        on_refused=lambda _transaction, _error: None,
    )
    for transaction in MADE[:waiting_count]:
        intake.mempool.add(transaction)
    for transaction in MADE[waiting_count : waiting_count + 2 * GOSSIP_PER_TICK_MAX]:
        intake.gossip_queue.put("peer", transaction.id, transaction.encoded)
    return intake


def test_where_plenty_waits_a_look_is_followed_by_a_rest() -> None:
    world = World()
    intake = make_intake(world, waiting_count=PLENTY_COUNT)
    assert intake.rest_factor == REST_FACTOR
    assert intake.next_look_ms == 0
    assert intake.look_at_gossip()
    spent_ms = GOSSIP_PER_TICK_MAX * LOOK_MS
    assert world.now_ms == spent_ms
    assert intake.next_look_ms == spent_ms + REST_FACTOR * spent_ms
    world.now_ms = spent_ms + REST_FACTOR * spent_ms - 1
    count = intake.mempool.count
    assert not intake.look_at_gossip()
    assert intake.mempool.count == count
    world.now_ms += 1
    assert intake.look_at_gossip()
    assert intake.mempool.count == count + GOSSIP_PER_TICK_MAX


def test_where_little_waits_nothing_rests() -> None:
    world = World()
    intake = make_intake(world, waiting_count=0)
    assert intake.rest_factor == 0
    assert intake.look_at_gossip()
    assert intake.look_at_gossip()
    assert intake.mempool.count == 2 * GOSSIP_PER_TICK_MAX
    assert intake.next_look_ms is None
    assert not intake.look_at_gossip()
