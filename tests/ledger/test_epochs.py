"""Epochs in the rules: seals, what may follow them, and what audits and trust paths demand of them."""

from dataclasses import fields, replace

import pytest

from ledger.chain.execution import Divergence, build_block, execute_block
from ledger.chain.overlays import Executed, Overlay, Tip
from ledger.encoding.records import pack
from ledger.rules.blocks import Block, BlockError, EncodedHeader, Header
from ledger.rules.certificates import Validator, ValidatorSet
from ledger.rules.state import VALIDATORS_KEY, Validators, require_validators
from ledger.rules.transactions import VerifiedTransactions
from ledger.trees.statepages import update
from ledger.trees.statetree import value_hash
from tests.support.consortium import (
    VALIDATORS,
    Ledger,
    key_of,
    leader_of,
    make_anchor,
    make_transaction,
)
from tests.support.forging import with_fields

NEXT = ValidatorSet(
    tuple(
        Validator(member, key_of(f"{member} next validator").public)
        for member in ("hk-bank", "hk-bureau", "hk-operator", "mainland-bank")
    )
)


def pend(tip: Tip, pending: ValidatorSet = NEXT) -> Tip:
    """Return a tip whose state holds a pending set, as a block that recorded it would leave it."""
    leaf = pack(replace(require_validators(tip.state), pending=pending))
    tree = update(tip.state, tip.header.state_root, [(VALIDATORS_KEY, value_hash(leaf))])
    encoded_header = EncodedHeader.encode(replace(tip.header, state_root=tree.root))
    return Tip(encoded_header, Overlay({VALIDATORS_KEY: leaf}, tree.pages, tip.state), tip.history)


def seal_on(tip: Tip, *transactions: object) -> Executed:
    view = tip.header.view + 1
    executed, refused = build_block(
        tip,
        transactions,  # type: ignore[arg-type]
        view=view,
        proposer=leader_of(view),
        now_ms=tip.header.time_ms + 1_000,
        verified=VerifiedTransactions(),
    )
    assert not refused
    return executed


def check(parent: Tip, header: Header, block: Block) -> Executed:
    return execute_block(
        parent, Block(EncodedHeader.encode(header), block.transactions), verified=VerifiedTransactions()
    )


def test_a_block_on_a_pending_set_is_a_seal() -> None:
    parent = pend(Ledger.start().tip)
    seal = seal_on(parent, make_transaction("hk-bureau", make_anchor()))
    header = seal.block.header
    assert header.is_seal and header.next_validators_hash == NEXT.digest()
    assert seal.block.transactions == ()
    assert header.validators_hash == require_validators(parent.state).current.digest()
    assert header.epoch == 0
    assert require_validators(seal.overlay) == Validators(1, NEXT, None)
    assert execute_block(parent, seal.block, verified=VerifiedTransactions()).overlay == seal.overlay


def test_a_block_without_a_pending_set_is_no_seal_and_may_not_claim_to_be_one() -> None:
    ledger = Ledger.start()
    executed, _ = ledger.build()
    assert not executed.block.header.is_seal
    claimed = replace(executed.block.header, next_validators_hash=NEXT.digest())
    with pytest.raises(Divergence, match="next_validators_hash"):
        check(ledger.tip, claimed, executed.block)


def test_a_seal_that_names_another_set_or_none_or_holds_transactions_is_refused() -> None:
    parent = pend(Ledger.start().tip)
    seal = seal_on(parent).block
    for named in (None, bytes(32), require_validators(parent.state).current.digest()):
        with pytest.raises(Divergence, match="next_validators_hash"):
            check(parent, replace(seal.header, next_validators_hash=named), seal)
    stuffed = Block(seal.encoded_header, (make_transaction("hk-bureau", make_anchor()),))
    with pytest.raises(BlockError, match="seal without transactions"):
        execute_block(parent, stuffed, verified=VerifiedTransactions())


def test_only_the_next_epoch_stands_on_a_seal() -> None:
    seal = seal_on(pend(Ledger.start().tip))
    child, _ = build_block(
        seal.tip(),
        (),
        view=1,
        proposer=NEXT.validators[2].member,
        now_ms=seal.block.header.time_ms + 1,
        verified=VerifiedTransactions(),
    )
    header = child.block.header
    assert (header.epoch, header.view) == (1, 1)
    assert header.validators_hash == NEXT.digest()
    assert not header.is_seal
    check(seal.tip(), header, child.block)
    for epoch, view in ((0, header.view), (0, seal.block.header.view + 1), (2, 1), (1, 0)):
        with pytest.raises(BlockError):
            check(seal.tip(), replace(header, epoch=epoch, view=view), child.block)


def test_the_leader_of_the_next_epoch_is_of_the_next_set() -> None:
    seal = seal_on(pend(Ledger.start().tip))
    child, _ = build_block(
        seal.tip(), (), view=1, proposer=VALIDATORS[3], now_ms=0, verified=VerifiedTransactions()
    )
    with pytest.raises(Divergence, match="proposer"):
        check(seal.tip(), child.block.header, child.block)


def test_a_later_certificate_is_of_seals_only() -> None:
    seal = seal_on(pend(Ledger.start().tip)).block.encoded_header
    plain = Ledger.start().build()[0].block.encoded_header
    for encoded_header, is_later_allowed in ((seal, True), (plain, False)):
        view = encoded_header.header.view
        assert encoded_header.header.may_be_certified_in(view)
        assert encoded_header.header.may_be_certified_in(view + 3) is is_later_allowed
        assert not encoded_header.header.may_be_certified_in(view - 1)


def test_every_field_of_a_seal_counts() -> None:
    parent = pend(Ledger.start().tip)
    seal = seal_on(parent).block
    for field in fields(Header):
        value = getattr(seal.header, field.name)
        if field.name in ("version", "suite", "view", "time_ms"):
            continue  # The first two have one value; the others are the leader's choice within bounds.
        changed = {int: 7, bytes: b"\x07" * 32, str: "hk-bank"}[type(value)]
        with pytest.raises(BlockError):
            check(parent, with_fields(seal.header, **{field.name: changed}), seal)
