"""A member of the set that follows: why, until when, and that it never votes twice for having followed."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.rules.certificates import NOTARIZE, Subject
from ledger.rules.operations import ROTATION_TAG, VALIDATOR_KEY, RotateKey, next_key_commitment
from node.consensus.effects import Persist
from node.consensus.journal import Amnesia, VoteCast
from node.consensus.startup import Participation
from node.replica.engine import Engines
from node.replica.journal import VoteLogJournal
from node.storage.signer import SigningRefused
from tests.support.catching_up import is_level, memory, run_until
from tests.support.node_world import (
    START_MS,
    VALIDATORS,
    World,
    WorldNode,
    anchor_transaction,
    make_genesis,
    private_key,
    sign,
)

__all__ = ("memory",)

LOSER = "hk-operator"
CHAIN_ID = make_genesis().content.chain_id
KEYS = (f"{LOSER} validator", f"{LOSER} next validator")


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of validator keys that no home has, until a test takes them out again."""
    names: set[str] = set()
    find = WorldNode._find_key

    def find_shown(self: WorldNode, key: PublicKey) -> PrivateKey | None:
        return None if any(private_key(name).public == key for name in names) else find(self, key)

    monkeypatch.setattr(WorldNode, "_find_key", find_shown)
    return names


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    world = World(memory)
    for member in VALIDATORS:
        world.start(member)
    world.run(2_000)
    yield world
    world.close()


def work(world: World, first: int, count: int) -> None:
    for number in range(first, first + count):
        world.nodes["sz-operator"].submit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        world.run(60)


def leave_a_vote_under_way(world: World) -> list[VoteCast]:
    """End the loser while votes of its own are above finality; return them."""
    world.is_lost = lambda _source, _target, data: False
    node = world.nodes[LOSER]
    world.nodes["sz-operator"].submit(anchor_transaction(world.genesis, 900, START_MS + world.now_ms))
    while not (own := [r for r in node.driver.core.journal_snapshot() if isinstance(r, VoteCast)]):
        world.run(1)
    world.kill(LOSER)
    return own


def contradiction(vote: VoteCast) -> Subject:
    return replace(vote.vote.subject, block_hash=bytes(32))


def test_an_engine_after_one_that_followed_remembers_every_vote_of_its_epoch(
    world: World, hidden: set[str]
) -> None:
    """The key came back while the node ran, and a snapshot began the engine anew in the same epoch."""
    work(world, 0, 2)
    own = leave_a_vote_under_way(world)
    assert own[0].vote.subject.kind == NOTARIZE
    hidden.add(KEYS[0])
    node = world.start(LOSER)
    followed = node.driver.engine
    assert followed.me is None and followed.lack is not None
    hidden.clear()
    chain = node.driver.chain
    engine = node.engines.resume(followed, chain.tip, chain.store.tip_certificate(), chain.holds)
    assert engine.me is not None and engine.guard is not None
    assert [r for r in engine.core.journal_snapshot() if isinstance(r, VoteCast)] == own
    with pytest.raises(SigningRefused):
        engine.guard.sign(contradiction(own[0]))


def test_a_log_that_is_gone_together_with_the_key_is_amnesia_when_the_key_is_back(
    world: World, hidden: set[str]
) -> None:
    work(world, 0, 2)
    leave_a_vote_under_way(world)
    (world.directory / LOSER / "votes").unlink()
    hidden.add(KEYS[0])
    world.start(LOSER)
    world.run(100)
    world.kill(LOSER)
    hidden.clear()
    node = world.start(LOSER)
    seen = set()
    for _ in range(60):
        seen.add(node.driver.core.standing)
        world.run(2)
    assert Participation.OBSERVING in seen and Participation.VOTING not in seen
    work(world, 10, 5)
    run_until(world, lambda: node.driver.core.standing is Participation.VOTING, milliseconds=120_000)


def rotation(world: World) -> RotateKey:
    fresh, after = private_key(KEYS[1]), private_key(f"{LOSER} after")
    unsigned = RotateKey(VALIDATOR_KEY, 1, fresh.public, next_key_commitment(after.public), bytes(64))
    body = unsigned.signed_body(chain_id=CHAIN_ID, member=LOSER)
    return replace(unsigned, signature=fresh.sign(ROTATION_TAG, body))


@pytest.mark.parametrize("is_empty", [False, True], ids=["with-data", "without-data"])
def test_who_starts_without_the_key_of_the_stored_epoch_votes_with_that_of_the_next(
    world: World, hidden: set[str], is_empty: bool
) -> None:
    work(world, 0, 2)
    world.kill(LOSER)
    now_ms = START_MS + world.now_ms
    world.nodes["sz-operator"].submit(sign(world.genesis, LOSER, now_ms, rotation(world)))
    run_until(world, lambda: world.nodes["sz-operator"].driver.engine.epoch == 1)
    hidden.add(KEYS[0])
    if is_empty:
        shutil.rmtree(world.directory / LOSER)
    node = world.start(LOSER)
    assert (node.driver.engine.epoch, node.driver.engine.me) == (0, None)
    work(world, 10, 3)
    run_until(world, lambda: node.driver.core.standing is Participation.VOTING)
    assert node.driver.engine.epoch == 1
    world.kill("mainland-bank")  # now every vote counts
    height = node.store.tip().header.height
    work(world, 20, 2)
    run_until(world, lambda: node.store.tip().header.height > height)


# The chain that a home had


def with_reached(monkeypatch: pytest.MonkeyPatch, heights: dict[str, int]) -> None:
    begin = Engines.__init__

    def begun(self: Engines, *, member: str, **arguments: object) -> None:
        begin(self, member=member, reached_height=heights.get(member, 0), **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Engines, "__init__", begun)


def test_a_home_that_had_a_chain_votes_from_the_height_on_that_it_had(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(world, 0, 6)
    height = world.nodes[LOSER].store.tip().header.height
    world.kill(LOSER)
    shutil.rmtree(world.directory / LOSER)
    with_reached(monkeypatch, {LOSER: height + 2})
    node = world.start(LOSER)
    world.run(3_000)
    assert node.store.tip().header.height >= height
    assert node.driver.engine.me is None and node.driver.engine.lack is not None
    assert f"up to {height + 2}" in node.driver.engine.lack.what
    work(world, 10, 4)
    run_until(world, lambda: node.driver.core.standing is Participation.VOTING)
    assert node.driver.engine.lack is None
    world.kill("mainland-bank")
    height = node.store.tip().header.height
    work(world, 20, 2)
    run_until(world, lambda: node.store.tip().header.height > height)


def test_homes_that_all_had_a_chain_found_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    work(world, 0, 6)
    tip = world.nodes[LOSER].store.tip()
    run_until(world, lambda: is_level(world))
    heights = {member: node.store.tip().header.height for member, node in world.nodes.items()}
    for member in VALIDATORS:
        world.kill(member)
    shutil.copytree(world.directory / LOSER, world.directory / "kept")
    with_reached(monkeypatch, heights)
    for member in VALIDATORS:
        shutil.rmtree(world.directory / member)
        world.start(member)
    world.nodes["sz-operator"].submit(anchor_transaction(world.genesis, 50, START_MS + world.now_ms))
    world.run(60_000)
    assert {node.store.tip().header.height for node in world.nodes.values()} == {0}
    # One copy is put back, and all go on with the chain that was.
    world.kill(LOSER)
    shutil.rmtree(world.directory / LOSER)
    shutil.copytree(world.directory / "kept", world.directory / LOSER)
    world.start(LOSER)
    run_until(
        world, lambda: all(n.driver.core.standing is Participation.VOTING for n in world.nodes.values())
    )
    work(world, 60, 3)
    assert all(
        node.store.find_height(tip.encoded_header.hash) == tip.header.height for node in world.nodes.values()
    )


# What the journal gives to whoever followed


def open_journal(path: Path, *, epoch: int, has_voted: bool = False) -> VoteLogJournal:
    journal, _, _ = VoteLogJournal.open(
        path, chain_id=CHAIN_ID, validator=LOSER, epoch=epoch, has_voted=has_voted
    )
    return journal


def test_an_amnesia_lasts_for_whoever_followed_until_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    open_journal(path, epoch=0).close()
    journal = open_journal(path, epoch=0)
    assert journal.held_from(0) == ()
    # It was noticed while the node ran: the log's own header says nothing of it.
    journal.persist(Persist((Amnesia(1, 50),)))
    assert journal.held_from(3) == (Amnesia(3, None),)
    journal.close()
    journal = open_journal(path, epoch=2)
    assert journal.held_from(3) == (Amnesia(3, None),)
    journal.persist(Persist((Amnesia(3, 0),)))
    assert journal.held_from(4) == ()
    journal.close()


def test_a_log_that_was_lost_is_amnesia_for_whoever_followed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "votes", epoch=4, has_voted=True)
    assert journal.held_from(4) == (Amnesia(4, None),)
    assert journal.held_from(5) == (Amnesia(5, None),)
    journal.close()
