"""Misbehaviour that validators see comes on record, once, and names only the culprit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.rules.certificates import NOTARIZE, NULLIFY, VOTE_TAGS, Subject, Vote
from ledger.rules.state import Misbehaviour, find, misbehaviour_key
from node.consensus.messages import VoteMessage, encode_message
from node.messages import Consensus, encode_peer_message
from tests.support.node_world import START_MS, VALIDATORS, World, anchor_transaction, private_key

CULPRIT = "mainland-bank"
HONEST = tuple(member for member in VALIDATORS if member != CULPRIT)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    for member in VALIDATORS:
        world.start(member)
    world.run(2_000)
    yield world
    world.close()


def vote(world: World, subject: Subject) -> bytes:
    """Return a vote with the culprit's signature, as it travels."""
    content = world.genesis.content
    index = content.validators.index_of(CULPRIT)
    assert index is not None
    key = private_key(f"{CULPRIT} validator")
    signature = key.sign(VOTE_TAGS[subject.kind], subject.body(content.chain_id))
    return encode_peer_message(Consensus(encode_message(VoteMessage(Vote(subject, index, signature)))))


def show(world: World, witnesses: tuple[str, ...], *subjects: Subject) -> None:
    world.liars.add(CULPRIT)
    for member in witnesses:
        for subject in subjects:
            world.nodes[member].driver.receive(CULPRIT, vote(world, subject))


def two_notarizes(world: World) -> tuple[Subject, Subject]:
    view = world.nodes[HONEST[0]].driver.core.current_view
    return (
        Subject(NOTARIZE, 0, view, view - 1, b"\x01" * 32),
        Subject(NOTARIZE, 0, view, view - 1, b"\x02" * 32),
    )


def records(world: World) -> list[Misbehaviour | None]:
    return [find(node.store, Misbehaviour, misbehaviour_key(0, CULPRIT)) for node in world.nodes.values()]


def settle(world: World) -> None:
    """Let a transaction and what follows from its finality go by."""
    now_ms = START_MS + world.now_ms
    world.nodes[HONEST[0]].submit(anchor_transaction(world.genesis, world.now_ms, now_ms))
    world.run(15_000)


def test_two_votes_that_exclude_each_other_come_on_record_once(world: World) -> None:
    first, second = two_notarizes(world)
    show(world, HONEST, first, second)
    settle(world)
    found = records(world)
    assert all(each is not None and each.member == CULPRIT for each in found)
    assert len(set(found)) == 1
    reports = [
        transaction
        for height in range(1, world.nodes[HONEST[0]].store.tip().header.height + 1)
        if (block := world.nodes[HONEST[0]].store.load_block(height)) is not None
        for transaction in block.transactions
        if transaction.body.operations[0].TAG == "report_misbehaviour"
    ]
    assert len(reports) == 1
    assert all(node.driver.mempool.count == 0 for node in world.nodes.values())


def test_one_witness_is_enough(world: World) -> None:
    show(world, HONEST[1:2], *two_notarizes(world))
    settle(world)
    assert all(each is not None for each in records(world))


def test_lawful_votes_are_not_reported(world: World) -> None:
    first, _ = two_notarizes(world)
    world.kill(CULPRIT)  # It would vote for the true block as well.
    show(world, HONEST, first, Subject(NULLIFY, 0, first.view, None, None))
    settle(world)
    assert records(world) == [None] * 3
