"""Epochs over real drivers, stores and vote logs: from one validator set to the next (docs/epochs.md)."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.audit import Audit, AuditReport
from ledger.rules.certificates import FINALIZE, Vote
from ledger.rules.operations import CastVote, Propose
from ledger.rules.proposals import ChangeValidators
from ledger.rules.state import require_validators
from ledger.rules.transactions import Transaction
from ledger.trust import Pins, TrustedRoot, TrustError, TrustPath, verify_header
from node.consensus.messages import (
    CertificateMessage,
    CertificateRequest,
    LatestVoteAnswer,
    LatestVoteRequest,
    Message,
    StatusMessage,
    VoteMessage,
    decode_message,
    encode_message,
)
from node.consensus.startup import Participation
from node.messages import Consensus, FinalBlocks, decode_peer_message, encode_peer_message
from node.storage.store import Store
from node.storage.voteframes import PAGE_SIZE
from tests.support.node_world import FIVE, START_MS, VALIDATORS, World, anchor_transaction, make_genesis, sign


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, genesis=make_genesis(FIVE))
    for member in FIVE:
        world.start(member)
    world.run(2_000)
    yield world
    world.close()


def submit(world: World, *transactions: Transaction) -> None:
    for transaction in transactions:
        world.nodes["sz-operator"].submit(transaction)


def settle(world: World, *transactions: Transaction) -> None:
    """Submit, and let time pass until they are final."""
    submit(world, *transactions)
    for _ in range(100):
        if {each.id for each in transactions} <= set(world.nodes["sz-operator"].final):
            return
        world.run(100)
    raise AssertionError("not final in 10 s")


def vote_for(world: World, members: tuple[str, ...], voters: tuple[str, ...]) -> Transaction:
    """Have governors vote for a set; return the last vote, which passes it once it is submitted."""
    store = world.nodes["sz-operator"].store
    now_ms = world.nodes["sz-operator"].wall_ms()
    current = tuple(validator.member for validator in require_validators(store).current.validators)
    change = Propose(ChangeValidators(current, members), None, now_ms + 3_600_000)
    settle(world, sign(world.genesis, "sz-operator", now_ms, change))
    proposal = change.proposal_id(chain_id=world.genesis.content.chain_id, proposer="sz-operator")
    *votes, last = (sign(world.genesis, voter, now_ms, CastVote(proposal, "yes")) for voter in voters)
    settle(world, *votes)
    return last


def change_validators(
    world: World, members: tuple[str, ...], *, voters: tuple[str, ...] = VALIDATORS
) -> None:
    """Have governors decide on a set; when this returns the change is final, and its seal under way."""
    settle(world, vote_for(world, members, voters))


def anchors(world: World, first: int, count: int, *, sender: str = "hk-bureau") -> list[bytes]:
    now_ms = START_MS + world.now_ms
    made = [anchor_transaction(world.genesis, first + each, now_ms, sender) for each in range(count)]
    for transaction in made:
        submit(world, transaction)
        world.run(150)
    return [transaction.id for transaction in made]


def epochs(world: World) -> set[int]:
    return {node.driver.engine.epoch for node in world.nodes.values()}


def audit(store: Store, world: World) -> AuditReport:
    replay = Audit(world.genesis)
    for height in range(1, store.tip().header.height + 1):
        block = store.load_block(height)
        assert block is not None
        assert replay.replay(block, store.find_certificate(height))
    replay.check_state(store.values())
    return replay.finish()


def path_to(store: Store, epoch: int) -> TrustPath:
    found = [store.find_handover(each) for each in range(epoch)]
    return TrustPath(0, tuple(each for each in found if each is not None), None)


def test_a_validator_leaves_and_comes_back_while_transactions_flow(world: World) -> None:
    change_validators(world, VALIDATORS)
    sent = anchors(world, 0, 10)
    world.run(1_000)
    assert epochs(world) == {1}
    left = world.nodes["hk-bank"].driver.engine
    assert left.me is None
    assert len(left.validators) == 4
    change_validators(world, FIVE)
    sent += anchors(world, 100, 10)
    world.run(3_000)
    assert epochs(world) == {2}
    assert all(node.driver.core.standing is Participation.VOTING for node in world.nodes.values())
    for node in world.nodes.values():
        assert [each for each in node.final if each in set(sent)] == sent
    assert len({node.store.tip().header.state_root for node in world.nodes.values()}) == 1
    report = audit(world.nodes["hk-bank"].store, world)
    assert report.is_clean
    assert report.final_height == report.height


def test_an_idle_network_hands_over_and_goes_quiet_again(world: World) -> None:
    change_validators(world, VALIDATORS)
    world.run(1_000)
    assert epochs(world) == {1}
    height = world.nodes["hk-bureau"].store.tip().header.height
    world.run(60_000)
    assert 5 <= world.nodes["hk-bureau"].store.tip().header.height - height <= 7


def find_finalize_vote(data: bytes) -> Vote | None:
    message = decode_peer_message(data)
    if not isinstance(message, Consensus):
        return None
    inner = decode_message(message.message)
    if not isinstance(inner, VoteMessage) or inner.vote.subject.kind != FINALIZE:
        return None
    return inner.vote


def lose_finalize_votes(world: World, until_view: int) -> None:
    """Lose every finalize vote of earlier views, so that a seal among them is notarized and not final."""

    def is_lost(_source: str, _target: str, data: bytes) -> bool:
        vote = find_finalize_vote(data)
        return vote is not None and vote.subject.epoch == 0 and vote.subject.view < until_view

    world.is_lost = is_lost


def test_a_seal_that_is_not_final_is_proposed_again_until_it_is(world: World) -> None:
    last = vote_for(world, VALIDATORS, VALIDATORS)
    view = world.nodes["hk-bureau"].driver.core.current_view
    lose_finalize_votes(world, view + 12)
    submit(world, last)
    anchors(world, 0, 3)
    world.run(20_000)
    assert epochs(world) == {1}
    store = world.nodes["hk-bank"].store
    handover = store.find_handover(0)
    assert handover is not None
    certified_view = handover.seal.certificate.subject.view
    seals = [
        block.header
        for height in range(1, store.tip().header.height + 1)
        if (block := store.load_block(height)) is not None and block.header.is_seal
    ]
    assert len(seals) == 1
    assert certified_view > seals[0].view
    assert all(len(set(node.final)) == len(node.final) for node in world.nodes.values())
    assert audit(store, world).is_clean


def test_a_node_that_slept_over_two_handovers_catches_up_by_itself(world: World) -> None:
    world.kill("hk-operator")
    others = ("hk-bank", "hk-bureau", "mainland-bank", "sz-operator")
    for number, members in enumerate((VALIDATORS, FIVE)):
        change_validators(world, members, voters=others)
        anchors(world, 100 * number, 5)
        world.run(6_000)
        assert require_validators(world.nodes["sz-operator"].store).epoch == number + 1
    world.run(1_000)
    world.start("hk-operator")
    world.run(8_000)
    assert epochs(world) == {2}
    assert len({node.store.tip().encoded_header.hash for node in world.nodes.values()}) == 1
    assert world.nodes["hk-operator"].driver.core.standing is Participation.VOTING


def test_a_node_that_died_on_the_seal_opens_the_next_epoch_at_its_start(world: World) -> None:
    change_validators(world, VALIDATORS)
    while not world.nodes["hk-bureau"].store.tip().header.is_seal:
        world.run(1)
    for member in FIVE:
        world.kill(member)
    for member in FIVE:
        world.start(member)
    sent = anchors(world, 0, 3)
    world.run(6_000)
    assert epochs(world) == {1}
    assert all(set(sent) <= set(node.final) for node in world.nodes.values())


def test_a_seal_that_one_member_has_alone_and_that_leaves_it_out_reaches_the_others(world: World) -> None:
    """Regression (seed 1067112): a follower had nothing to say, and to what was asked in the ended epoch no answer."""
    last = vote_for(world, VALIDATORS, VALIDATORS)
    world.is_lost = lambda source, target, data: (
        source == "hk-bank" or (target != "hk-bank" and find_finalize_vote(data) is not None)
    )
    submit(world, last)
    while world.nodes["hk-bank"].driver.engine.epoch == 0:
        world.run(1)
    for member in FIVE:
        world.kill(member)
    world.is_lost = lambda _source, _target, _data: False
    # Three of five: no quorum of the ended epoch, but one of the next.
    for member in ("hk-bank", "hk-bureau", "hk-operator", "mainland-bank"):
        world.start(member)
    assert [node.driver.engine.epoch for node in world.nodes.values()] == [1, 0, 0, 0]
    world.run(5_000)
    assert epochs(world) == {1}
    assert world.nodes["hk-bank"].driver.engine.me is None
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    world.nodes["hk-bureau"].submit(transaction)
    world.run(3_000)
    assert all(transaction.id in node.final for node in world.nodes.values())


def test_whoever_stands_in_an_ended_epoch_is_told_its_seal_once_in_a_second(world: World) -> None:
    change_validators(world, VALIDATORS)
    world.run(5_000)
    assert epochs(world) == {1}
    node = world.nodes["hk-bank"]
    handover = node.store.find_handover(0)
    assert handover is not None
    seal = CertificateMessage(handover.seal.certificate)
    told: list[Message] = []

    def note(source: str, target: str, data: bytes) -> bytes:
        message = decode_peer_message(data)
        if (source, target) == ("hk-bank", "hk-bureau") and isinstance(message, Consensus):
            told.append(decode_message(message.message))
        return data

    world.meddle = note
    says_where: tuple[Message, ...] = (
        StatusMessage(0, 1, 2, "idle"),
        CertificateRequest(0, 1, FINALIZE),
        LatestVoteRequest(0),
    )
    for message in says_where:
        for _ in range(20):
            node.driver.receive("hk-bureau", encode_peer_message(Consensus(encode_message(message))))
        assert told == [seal]
        told.clear()
        world.run(1_000)
    # These say nothing of where their sender stands; and of an epoch that lasts there is no seal.
    vote = Vote(handover.seal.certificate.subject, 0, bytes(64))
    says_nothing: tuple[Message, ...] = (
        seal,
        VoteMessage(vote),
        LatestVoteAnswer(0, (), ()),
        StatusMessage(1, 1, 2, "idle"),
    )
    for message in says_nothing:
        node.driver.receive("hk-bureau", encode_peer_message(Consensus(encode_message(message))))
        world.run(1_000)
    assert told == []
    # What was sent on a connection that was lost may be lost with it.
    for _ in range(2):
        node.driver.receive("hk-bureau", encode_peer_message(Consensus(encode_message(says_where[0]))))
        node.driver.peer_down("hk-bureau")
        node.driver.peer_up("hk-bureau")
    assert told == [seal, seal]


def test_a_seal_that_is_not_here_is_looked_for_once_in_a_second(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_validators(world, VALIDATORS)
    world.run(5_000)
    node, looked = world.nodes["hk-bank"], []
    monkeypatch.setattr(Store, "find_handover", lambda _self, epoch: looked.append(epoch))
    says_where = encode_peer_message(Consensus(encode_message(StatusMessage(0, 1, 2, "idle"))))
    for _ in range(20):
        node.driver.receive("hk-bureau", says_where)
    world.now_ms += 1_000
    node.driver.receive("hk-bureau", says_where)
    assert looked == [0, 0]


def test_trust_reaches_later_epochs_by_their_seals_and_not_without(world: World) -> None:
    change_validators(world, VALIDATORS)
    anchors(world, 0, 3)
    change_validators(world, FIVE)
    anchors(world, 100, 3)
    world.run(2_000)
    store = world.nodes["mainland-bank"].store
    tip, certificate = store.tip().encoded_header, store.tip_certificate()
    assert tip.header.epoch == 2
    pins = Pins(TrustedRoot(1, world.genesis, ()))
    at_ms = tip.header.time_ms
    path = path_to(store, 2)
    assert verify_header(pins, tip.encoded, certificate, path, at_ms=at_ms).encoded_header == tip
    for handovers in ((), path.handovers[:1], path.handovers[1:], path.handovers[::-1]):
        with pytest.raises(TrustError):
            verify_header(pins, tip.encoded, certificate, TrustPath(0, handovers, None), at_ms=at_ms)


def test_a_peer_that_claims_a_later_epoch_does_not_keep_a_sleeper_from_catching_up(world: World) -> None:
    world.kill("hk-operator")
    anchors(world, 0, 5)
    world.start("hk-operator")
    node = world.nodes["hk-operator"]
    claim = Consensus(encode_message(StatusMessage(7, 3, 4, "idle")))
    # The liar answers nothing that it is asked.
    world.meddle = lambda source, _target, data: (
        None if source == "hk-bank" and isinstance(decode_peer_message(data), FinalBlocks) else data
    )
    for _ in range(60):
        node.driver.receive("hk-bank", encode_peer_message(claim))
        world.run(100)
    assert node.store.tip().encoded_header.hash == world.nodes["hk-bureau"].store.tip().encoded_header.hash


def test_a_validator_that_lost_its_chain_follows_the_epochs_that_its_rewritten_log_has_left(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, genesis=make_genesis(FIVE), compaction_size=16 * PAGE_SIZE)
    for member in FIVE:
        world.start(member)
    world.run(2_000)
    anchors(world, 0, 5)
    change_validators(world, VALIDATORS)
    anchors(world, 100, 20)
    assert epochs(world) == {1}
    world.kill("hk-bureau")
    shutil.rmtree(tmp_path / "hk-bureau" / "chain")
    world.delay_ms = 40
    node = world.start("hk-bureau")
    assert node.driver.engine.epoch == 0
    assert node.driver.engine.me is None
    standings = set()
    for _ in range(300):
        world.run(10)
        standings.add(node.driver.core.standing)
    assert node.driver.engine.epoch == 1
    assert node.driver.engine.me is not None
    assert Participation.OBSERVING not in standings
    assert node.driver.core.standing is Participation.VOTING
    world.close()
