"""A validator that lost votes observes until it is safe, by itself, and never contradicts itself."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, Vote
from node.consensus.messages import BlockProposalMessage, LatestVoteAnswer, VoteMessage, decode_message
from node.consensus.startup import Participation
from node.messages import BlockProposal, Consensus, decode_peer_message
from tests.support.catching_up import is_level, memory, run_until
from tests.support.node_world import START_MS, VALIDATORS, World, WorldNode, anchor_transaction

__all__ = ("memory",)

LOSER = "hk-operator"


class Ear:
    """Hears every vote that the validator ever sends, over all its lives."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.votes: set[Vote] = set()
        self.sent: set[Vote] = set()

    def hear(self, source: str, _target: str, data: bytes) -> bytes:
        message = decode_peer_message(data)
        if isinstance(message, Consensus | BlockProposal):
            inner = decode_message(message.message)
            if isinstance(inner, VoteMessage | BlockProposalMessage):
                votes: tuple[Vote, ...] = (inner.vote,)
            else:
                votes = inner.votes if isinstance(inner, LatestVoteAnswer) else ()
            own = {vote for vote in votes if vote.signer == self.index}
            self.votes |= own
            self.sent |= own if source == LOSER else set()
        return data

    def check_consistent(self) -> None:
        """Check that no two votes exclude each other."""
        by_view: dict[tuple[int, int, str], bytes | None] = {}
        for vote in self.votes:
            subject = vote.subject
            key = (subject.epoch, subject.view, subject.kind)
            assert by_view.setdefault(key, subject.block_hash) == subject.block_hash, f"twice: {key}"
        for epoch, view, kind in by_view:
            if kind == FINALIZE:
                assert (epoch, view, NULLIFY) not in by_view
                assert by_view.get((epoch, view, NOTARIZE)) in (None, by_view[epoch, view, FINALIZE])


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    world = World(memory)
    for member in VALIDATORS:
        world.start(member)
    world.run(2_000)
    yield world
    world.close()


@pytest.fixture
def ear(world: World) -> Ear:
    ear = Ear(VALIDATORS.index(LOSER))
    world.meddle = ear.hear
    return ear


def work(world: World, first: int, count: int) -> None:
    node = world.nodes["sz-operator"]
    for number in range(first, first + count):
        node.submit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        world.run(60)


def lose_everything(home: Path) -> None:
    shutil.rmtree(home)


def lose_the_vote_log(home: Path) -> None:
    for path in home.glob("votes*"):
        path.unlink()


def lose_the_chain(home: Path) -> None:
    shutil.rmtree(home / "chain")


@pytest.mark.parametrize("lose", [lose_everything, lose_the_vote_log, lose_the_chain])
def test_a_validator_that_lost_its_disk_never_contradicts_itself_and_votes_again(
    world: World, ear: Ear, lose: Callable[[Path], None]
) -> None:
    work(world, 0, 3)
    node = world.nodes["sz-operator"]
    node.submit(anchor_transaction(world.genesis, 3, START_MS + world.now_ms))
    world.run(7)  # votes of the loser are under way and not final
    world.kill(LOSER)
    lose(world.directory / LOSER)
    restarted = world.start(LOSER)
    before = set(ear.sent)
    silent_until_asked(world, restarted, ear, before)
    work(world, 10, 5)
    run_until(world, lambda: restarted.driver.core.standing is Participation.VOTING, milliseconds=120_000)
    run_until(world, lambda: is_level(world))
    world.kill("mainland-bank")  # now every vote counts
    height = restarted.store.tip().header.height
    work(world, 20, 3)
    run_until(world, lambda: restarted.store.tip().header.height > height)
    ear.check_consistent()


def silent_until_asked(world: World, node: WorldNode, ear: Ear, before: set[Vote]) -> None:
    """Check that nothing new is signed before q - 1 others have answered."""
    for _ in range(200):
        if node.driver.core.standing is not Participation.ASKING:
            return
        assert ear.sent == before
        world.run(1)
    raise AssertionError("the question is not answered")


def test_an_empty_directory_with_a_key_that_voted_is_amnesia(world: World, ear: Ear) -> None:
    """Nothing here says that it voted: neither chain nor vote log. Its peers know."""
    world.is_lost = lambda source, _target, _data: source == "hk-bureau"  # keep the last views from finality
    node = world.nodes["sz-operator"]
    node.submit(anchor_transaction(world.genesis, 1, START_MS + world.now_ms))
    world.run(3)
    while not any(vote.subject.kind == NOTARIZE for vote in ear.votes):
        world.run(1)
    world.run(6)
    world.kill(LOSER)
    lose_everything(world.directory / LOSER)
    world.is_lost = lambda _source, _target, _data: False
    restarted = world.start(LOSER)
    seen = set()
    for _ in range(100):
        seen.add(restarted.driver.core.standing)
        world.run(1)
    assert Participation.OBSERVING in seen
    work(world, 10, 5)
    run_until(world, lambda: restarted.driver.core.standing is Participation.VOTING, milliseconds=120_000)
    ear.check_consistent()


def test_a_backup_put_back_never_makes_it_contradict_itself(world: World, ear: Ear) -> None:
    world.kill(LOSER)
    backup = world.directory / "backup"
    shutil.copytree(world.directory / LOSER, backup)
    world.start(LOSER)
    world.run(3_000)
    work(world, 0, 4)
    node = world.nodes["sz-operator"]
    node.submit(anchor_transaction(world.genesis, 90, START_MS + world.now_ms))
    world.run(14)
    world.kill(LOSER)
    shutil.rmtree(world.directory / LOSER)
    shutil.copytree(backup, world.directory / LOSER)
    restarted = world.start(LOSER)
    before = set(ear.sent)
    silent_until_asked(world, restarted, ear, before)
    work(world, 10, 5)
    run_until(world, lambda: restarted.driver.core.standing is Participation.VOTING, milliseconds=120_000)
    run_until(world, lambda: is_level(world))
    ear.check_consistent()
