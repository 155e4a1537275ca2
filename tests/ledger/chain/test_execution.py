"""Execution: building and checking run the same code, and every altered header field is refused by name."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import pytest

from ledger.chain.execution import Divergence, build_block, execute_block
from ledger.chain.overlays import Executed
from ledger.encoding.records import pack
from ledger.errors import EncodingError, LedgerError
from ledger.rules.blocks import (
    BLOCK_TRANSACTIONS_MAX,
    HEADER_SIZE_MAX,
    Block,
    BlockError,
    EncodedHeader,
    Header,
)
from ledger.rules.state import Schema, StateView, find, schema_key
from ledger.rules.transactions import Transaction, VerifiedTransactions
from ledger.trees.merkle import tree_root
from tests.ledger.rules.test_recorded_once import RECORDED_CODES, SCENES, Scene, settle
from tests.support.consortium import (
    CHAIN_ID,
    MINUTE_MS,
    PARAMETERS,
    START_MS,
    Ledger,
    hash_of,
    key_of,
    leader_of,
    make_anchor,
    make_content,
    make_grant,
    make_record,
    make_rotation,
    make_transaction,
    make_withdrawal,
)
from tests.support.forging import with_fields

BUREAU, RELAY, BANK = "hk-bureau", "sz-operator", "mainland-bank"
# What a header may say instead, and the field that its refusal names.
ALTERATIONS: dict[str, tuple[object, str]] = {
    "chain_id": (hash_of("another chain"), "chain"),
    "epoch": (1, "epoch"),
    "view": (0, "view"),
    "height": (3, "height"),
    "time_ms": (START_MS, "time"),
    "parent_hash": (hash_of("another parent"), "parent"),
    "transactions_root": (tree_root(()), "transactions_root"),
    "state_root": (hash_of("another state"), "state_root"),
    "history_root": (hash_of("another history"), "history_root"),
    "validators_hash": (hash_of("other validators"), "validators_hash"),
    "next_validators_hash": (hash_of("next validators"), "next_validators_hash"),
    "proposer": (BANK, "proposer"),
}


def make_block(ledger: Ledger) -> Executed:
    grant = make_grant()
    executed, refused = ledger.build(
        make_transaction(BUREAU, make_anchor(), make_anchor(1)),
        make_transaction(RELAY, grant),
        make_transaction(BANK, make_record(grant, 0)),
        make_transaction(RELAY, make_rotation(RELAY)),
    )
    assert not refused
    return executed


def execute(ledger: Ledger, block: Block) -> Executed:
    return execute_block(ledger.tip, block, verified=VerifiedTransactions())


def with_header(block: Block, **changes: object) -> Block:
    header = with_fields(block.header, **changes)
    return Block(EncodedHeader.encode(header), block.transactions)


def test_executing_gives_what_building_gave() -> None:
    ledger = Ledger.start()
    for _ in range(2):
        built = make_block(ledger) if not ledger.blocks else ledger.build()[0]
        received = Block(
            EncodedHeader.decode(built.block.encoded_header.encoded),
            tuple(Transaction.decode(transaction.encoded) for transaction in built.block.transactions),
        )
        executed = execute(ledger, received)
        assert executed == built
        assert executed.block.hash == built.block.hash
        ledger.tip = executed.tip()
        ledger.blocks.append(executed)
    assert ledger.tip.header.height == 2


def test_an_empty_block_keeps_the_state_root_and_grows_the_history() -> None:
    ledger = Ledger.start()
    genesis = ledger.tip
    first = ledger.record().block
    second = ledger.record().block
    assert first.header.state_root == second.header.state_root == genesis.header.state_root
    assert first.header.history_root == tree_root([genesis.encoded_header.hash])
    assert second.header.history_root == tree_root([genesis.encoded_header.hash, first.hash])
    assert first.header.transactions_root == tree_root(())


@pytest.mark.parametrize("field", [field.name for field in fields(Header)])
def test_every_altered_header_field_is_refused_and_named(field: str) -> None:
    ledger = Ledger.start()
    block = make_block(ledger).block
    if field in ("version", "suite"):
        with pytest.raises(EncodingError, match=field):
            EncodedHeader.decode(pack(with_fields(block.header, **{field: 2})))
        return
    value, named = ALTERATIONS[field]
    with pytest.raises(BlockError, match=named) as caught:
        execute(ledger, with_header(block, **{field: value}))
    if isinstance(caught.value, Divergence):
        assert caught.value.field == field
        assert caught.value.code == "divergence"


def test_a_view_or_time_that_the_proposer_chose_differently_is_another_valid_block() -> None:
    ledger = Ledger.start()
    block = ledger.build()[0].block
    later = execute(ledger, with_header(block, time_ms=block.header.time_ms + 1))
    fifth = execute(ledger, with_header(block, view=5, proposer=leader_of(5)))
    assert len({block.hash, later.block.hash, fifth.block.hash}) == 3
    with pytest.raises(Divergence, match="proposer"):
        execute(ledger, with_header(block, view=2))


def test_a_header_has_every_field_listed_here() -> None:
    assert {field.name for field in fields(Header)} == {*ALTERATIONS, "version", "suite"}


def test_the_largest_header_fits() -> None:
    most, any_hash = 2**53 - 1, bytes(32)
    numbers, hashes = (most, most, most, most), (any_hash, any_hash, any_hash, any_hash, any_hash)
    largest = Header(1, 1, CHAIN_ID, *numbers, *hashes, any_hash, "m" * 32)
    encoded = EncodedHeader.encode(largest).encoded
    assert EncodedHeader.decode(encoded).header == largest
    with pytest.raises(EncodingError, match=f"at most {HEADER_SIZE_MAX} bytes"):
        EncodedHeader.decode(encoded + bytes(HEADER_SIZE_MAX))


def swap(transactions: Sequence[Transaction]) -> tuple[Transaction, ...]:
    return (transactions[1], transactions[0], *transactions[2:])


def test_transactions_stand_under_their_root_in_order() -> None:
    ledger = Ledger.start()
    block = make_block(ledger).block
    with pytest.raises(Divergence) as caught:
        execute(ledger, replace(block, transactions=swap(block.transactions)))
    assert caught.value.field == "transactions_root"
    with pytest.raises(Divergence):
        execute(ledger, replace(block, transactions=block.transactions[:-1]))


def test_a_block_holds_only_transactions_that_apply() -> None:
    ledger = Ledger.start()
    block = make_block(ledger).block
    false = make_transaction(BUREAU, make_anchor(5), key=key_of("nobody"))
    repeated = block.transactions[0]
    for bad, reason in ((false, "signature"), (repeated, "recorded")):
        with pytest.raises(BlockError, match="transaction 4") as caught:
            execute(ledger, replace(block, transactions=(*block.transactions, bad)))
        assert reason in str(caught.value)


@pytest.mark.parametrize("scene", SCENES)
def test_a_block_that_repeats_a_final_transaction_or_one_of_its_own_is_refused(
    scene: Callable[[Ledger], Scene],
) -> None:
    ledger = Ledger.start()
    shown = scene(ledger)
    transaction = make_transaction(shown.sender, shown.operation)
    alone = ledger.build(transaction)[0].block
    with pytest.raises(BlockError, match="transaction 1: ") as twice:
        execute(ledger, replace(alone, transactions=(transaction, transaction)))
    ledger.record(transaction)
    settle(ledger)
    empty = ledger.build()[0].block
    with pytest.raises(BlockError, match="transaction 0: ") as again:
        execute(ledger, replace(empty, transactions=(transaction,)))
    for caught in (twice, again):
        cause = caught.value.__cause__
        assert isinstance(cause, LedgerError) and cause.code in RECORDED_CODES


def test_a_refused_candidate_leaves_no_trace_in_a_built_block() -> None:
    ledger = Ledger.start()
    good, other = make_transaction(BUREAU, make_anchor()), make_transaction(BUREAU, make_anchor(1))
    bad = [
        make_transaction(BANK, make_anchor(2)),
        make_transaction(BUREAU, make_anchor(3), make_anchor(4, schema="none")),
        make_transaction(BUREAU, make_anchor(5), valid_until_ms=START_MS),
        good,
    ]
    mixed, refused = ledger.build(good, *bad, other)
    clean, _ = ledger.build(good, other)
    assert mixed == clean
    assert [transaction for transaction, _ in refused] == bad
    assert all(isinstance(error, LedgerError) for _, error in refused)


def test_building_does_not_change_the_parent() -> None:
    ledger = Ledger.start()
    before = make_block(ledger)
    assert make_block(ledger) == before
    assert ledger.tip.header.height == 0


def test_time_is_the_leaders_clock_but_always_above_the_parents() -> None:
    ledger = Ledger.start()
    assert ledger.build(now_ms=START_MS + 7)[0].block.header.time_ms == START_MS + 7
    for now_ms in (0, START_MS - 1, START_MS):
        executed, _ = ledger.build(now_ms=now_ms)
        assert executed.block.header.time_ms == START_MS + 1
        execute(ledger, executed.block)


# Limits


def limited(**limits: int) -> Ledger:
    return Ledger.start(make_content(replace(PARAMETERS, **limits)))


def anchors(ledger: Ledger, *counts: int) -> list[Transaction]:
    chain_id, first, made = ledger.tip.header.chain_id, 0, []
    for count in counts:
        operations = [make_anchor(first + index) for index in range(count)]
        made.append(make_transaction(BUREAU, *operations, chain_id=chain_id))
        first += count
    return made


def check_limit(ledger: Ledger, fits: list[Transaction], one_more: Transaction) -> None:
    """Check that a block of `fits` is built and executed, and that with `one_more` it is neither."""
    built, refused = ledger.build(*fits, one_more)
    assert built.block.transactions == tuple(fits)
    assert not refused, "a transaction that fits a later block is not refused"
    execute(ledger, built.block)
    with pytest.raises(BlockError, match=f"transaction {len(fits)}.*limits"):
        execute(ledger, replace(built.block, transactions=(*fits, one_more)))


def test_a_block_holds_operations_to_the_limit_and_no_more() -> None:
    ledger = limited(block_operations_max=5)
    transactions = anchors(ledger, 3, 2, 1)
    check_limit(ledger, transactions[:2], transactions[2])


def test_a_block_holds_bytes_to_the_limit_and_no_more() -> None:
    sizes = [len(transaction.encoded) for transaction in anchors(Ledger.start(), 8, 8)]
    ledger = limited(block_size_max=sum(sizes))
    transactions = anchors(ledger, 8, 8, 1)
    check_limit(ledger, transactions[:2], transactions[2])
    tight = limited(block_size_max=sum(sizes) - 1)
    assert len(tight.build(*anchors(tight, 8, 8))[0].block.transactions) == 1


def test_a_block_holds_signatures_to_the_limit_and_no_more() -> None:
    ledger = limited(block_signatures_max=5)
    chain_id = ledger.tip.header.chain_id
    grants = [make_grant(f"holder {index}", chain_id=chain_id) for index in range(2)]
    fits = [make_transaction(RELAY, grant, chain_id=chain_id) for grant in grants]
    fits += anchors(ledger, 1)
    one_more = make_transaction(
        RELAY, make_withdrawal(grants[0], "holder 0", chain_id=chain_id), chain_id=chain_id
    )
    check_limit(ledger, fits, one_more)


def test_a_smaller_candidate_fills_the_room_that_a_larger_one_does_not_fit() -> None:
    ledger = limited(block_operations_max=5)
    first, second, third = anchors(ledger, 4, 2, 1)
    built, refused = ledger.build(first, second, third)
    assert built.block.transactions == (first, third)
    assert not refused


class _Applied(VerifiedTransactions):
    """Takes every signature for verified, for the count of transactions alone."""

    def verify(self, transaction: Transaction, sender_key: object) -> None:
        return


def test_a_block_holds_transactions_to_the_limit_and_no_more() -> None:
    ledger = limited(
        block_operations_max=100_000, block_signatures_max=100_000, block_size_max=4 * 1024 * 1024
    )
    transactions = anchors(ledger, *([1] * (BLOCK_TRANSACTIONS_MAX + 1)))
    built, refused = build_block(
        ledger.tip,
        transactions,
        view=1,
        proposer=leader_of(1),
        now_ms=START_MS + MINUTE_MS,
        verified=_Applied(),
    )
    assert len(built.block.transactions) == BLOCK_TRANSACTIONS_MAX
    assert not refused
    with pytest.raises(BlockError, match=f"transaction {BLOCK_TRANSACTIONS_MAX}.*limits"):
        execute_block(ledger.tip, replace(built.block, transactions=tuple(transactions)), verified=_Applied())


def test_limits_are_checked_before_any_signature() -> None:
    ledger = limited(block_operations_max=5)
    false = make_transaction(
        BUREAU,
        *(make_anchor(index) for index in range(6)),
        key=key_of("nobody"),
        chain_id=ledger.tip.header.chain_id,
    )
    block = ledger.build()[0].block
    with pytest.raises(BlockError, match="limits"):
        execute(ledger, replace(block, transactions=(false,)))


def test_a_tip_reads_what_is_below_it() -> None:
    ledger = Ledger.start()
    ledger.record(make_transaction(BUREAU, make_anchor()))
    ledger.record(make_transaction(BUREAU, make_anchor(1)))
    state: StateView = ledger.tip.state
    assert find(state, Schema, schema_key("hk.credit-report")) is not None
    assert find(state, Schema, schema_key("no.such-schema")) is None
