"""The driver over real stores, vote logs and signatures, in virtual time."""

import logging
from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.chain.execution import BeyondLimits
from ledger.chain.overlays import Overlay
from ledger.encoding.records import pack
from ledger.rules.blocks import EncodedHeader, transactions_root
from ledger.rules.operations import AnchorBatch
from ledger.rules.state import Parameters
from ledger.rules.transactions import Transaction
from node.consensus.effects import Build
from node.errors import MempoolError
from node.messages import Gossip, encode_peer_message
from node.replica.intake import GOSSIP_PER_TICK_MAX, SPREAD_AGAIN_MS
from node.replica.mempool import Mempool
from tests.support.node_world import (
    START_MS,
    VALIDATORS,
    World,
    WorldNode,
    anchor_transaction,
    private_key,
    sign,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    for member in VALIDATORS:
        world.start(member)
    yield world
    world.close()


def heights(world: World) -> list[int]:
    return [node.driver.chain.tip.header.height for node in world.nodes.values()]


def roots(world: World) -> set[bytes]:
    return {node.driver.chain.tip.header.state_root for node in world.nodes.values()}


def test_a_transaction_given_to_one_node_becomes_final_on_all_once(world: World) -> None:
    world.run(2_000)
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    world.nodes["sz-operator"].submit(transaction)
    world.run(1_000)
    assert [node.final for node in world.nodes.values()] == [[transaction.id]] * 4
    assert len(roots(world)) == 1


def test_what_the_core_traces_is_logged_under_the_name_that_the_core_gave_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "node.replica.driver")
    world.run(1_000)
    views = [each for each in caplog.messages if each.split()[0] == "consensus.view"]
    assert views
    assert not any(each.startswith("consensus.consensus") for each in caplog.messages)


def test_finality_takes_a_few_hops_and_not_a_timeout(world: World) -> None:
    world.run(2_000)
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    world.nodes["sz-operator"].submit(transaction)
    world.run(200)
    assert all(node.final for node in world.nodes.values())


def test_an_idle_network_makes_heartbeats_only(world: World) -> None:
    world.run(120_000)
    assert len(set(heights(world))) == 1
    assert 8 <= heights(world)[0] <= 14


def test_transactions_flow_while_one_validator_is_dead_and_it_catches_up(world: World) -> None:
    world.run(1_000)
    world.kill("hk-operator")
    sent = []
    for number in range(40):
        transaction = anchor_transaction(world.genesis, number, START_MS + world.now_ms)
        world.nodes["sz-operator"].submit(transaction)
        sent.append(transaction.id)
        world.run(300)
    world.run(8_000)
    for node in world.nodes.values():
        assert sorted(node.final) == sorted(sent)
    world.start("hk-operator")
    world.run(8_000)
    assert len(set(heights(world))) == 1
    assert sorted(world.nodes["hk-operator"].final) == sorted(sent)


def test_all_nodes_killed_at_once_go_on_after_a_restart(world: World) -> None:
    world.run(1_000)
    transactions = [anchor_transaction(world.genesis, number, START_MS + world.now_ms) for number in range(5)]
    for transaction in transactions:
        world.nodes["sz-operator"].submit(transaction)
        world.run(7)
    for member in VALIDATORS:
        world.kill(member)
    world.queue.clear()
    world.run(1_000)
    for member in VALIDATORS:
        world.start(member)
    world.run(15_000)
    before = heights(world)
    last = anchor_transaction(world.genesis, 99, START_MS + world.now_ms)
    world.nodes["hk-bureau"].submit(last)
    world.run(3_000)
    assert len(set(heights(world))) == 1
    assert heights(world)[0] > before[0]
    assert all(node.final.count(last.id) == 1 for node in world.nodes.values())


def test_a_flood_of_gossip_is_looked_at_a_little_at_a_time_and_delays_nobody(world: World) -> None:
    world.run(2_000)
    node = world.nodes["sz-operator"]
    honest = anchor_transaction(world.genesis, 1_000, START_MS + world.now_ms)
    forged = [
        Transaction.sign(
            replace(honest.body, valid_until_ms=START_MS + 30_000 + number), private_key("nobody")
        )
        for number in range(10 * GOSSIP_PER_TICK_MAX)
    ]
    node.driver.receive("hk-operator", encode_peer_message(Gossip(tuple(each.encoded for each in forged))))
    assert len(node.driver._intake.gossip_queue) == len(forged)
    node.driver.tick()
    assert len(node.driver._intake.gossip_queue) == len(forged) - GOSSIP_PER_TICK_MAX
    world.nodes["hk-bureau"].submit(honest)
    world.run(1_000)
    assert not node.driver._intake.gossip_queue and node.driver.mempool.count == 0
    assert all(each.final == [honest.id] for each in world.nodes.values())


def test_whoever_has_had_his_share_makes_nobody_check_a_signature(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(2_000)
    driver = world.nodes["sz-operator"].driver
    driver._intake.mempool = Mempool(count_max=4)
    driver.admit(anchor_transaction(world.genesis, 1, START_MS + world.now_ms))
    monkeypatch.setattr(driver.chain, "check_transaction", None)
    with pytest.raises(MempoolError) as refused:
        driver.admit(anchor_transaction(world.genesis, 2, START_MS + world.now_ms))
    assert refused.value.code == "mempool-share"
    assert driver.mempool.count == 1


def test_a_peer_whose_gossip_is_no_transaction_is_named_once_it_is_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(2_000)
    node = world.nodes["sz-operator"]
    named: list[str] = []
    monkeypatch.setattr(node, "disconnect", lambda peer, _reason, _seconds: named.append(peer), raising=False)
    node.driver.receive("hk-operator", encode_peer_message(Gossip((b"none", b"none either"))))
    assert named == []
    node.driver.tick()
    assert named == ["hk-operator"] and not node.driver._intake.gossip_queue


def test_what_a_block_waits_for_is_found_among_what_nobody_has_looked_at(world: World) -> None:
    world.run(2_000)
    node = world.nodes["sz-operator"]
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    node.driver._intake.gossip_queue.put("hk-operator", transaction.id, transaction.encoded)
    assert node.driver._intake.find(transaction.id) == transaction
    assert not node.driver._intake.gossip_queue


def test_what_no_block_can_hold_is_refused_at_admission(world: World) -> None:
    world.run(1_000)
    node = world.nodes["sz-operator"]
    now_ms = START_MS + world.now_ms
    parameters = Parameters(4_096, 3, 4_000, 3_600_000, 366 * 86_400_000, 1, 0)
    put_parameters(node, parameters)
    anchors = tuple(AnchorBatch(bytes([n]) * 32, 1, "hk.credit-report", None) for n in range(4))
    assert node.driver.admit(sign(world.genesis, "hk-bureau", now_ms, *anchors[:3]))
    with pytest.raises(BeyondLimits, match="3 operations"):
        node.driver.admit(sign(world.genesis, "hk-bureau", now_ms, *anchors))
    assert node.driver.mempool.count == 1


def put_parameters(node: WorldNode, parameters: Parameters) -> None:
    """Let a node's final state hold other parameters, as governance would."""
    tip = node.driver.chain.tree.tip
    state = Overlay({parameters.state_key(): pack(parameters)}, {}, tip.state)
    node.driver.chain.tree.tip = replace(tip, state=state)


def test_picking_passes_over_what_is_above_the_tip_and_still_fills_the_block(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.delay_ms = 50
    world.run(1_000)
    asked: list[frozenset[bytes]] = []
    pick = Mempool.pick

    def note(mempool: Mempool, *, count_max: int, excluded: Set[bytes]) -> list[Transaction]:
        asked.append(frozenset(excluded))
        return pick(mempool, count_max=count_max, excluded=excluded)

    monkeypatch.setattr(Mempool, "pick", note)
    for number in range(20):
        transaction = anchor_transaction(world.genesis, number, START_MS + world.now_ms)
        world.nodes["sz-operator"].submit(transaction)
        world.run(30)
    world.run(3_000)
    assert any(asked), "what is in a block that is not final yet is passed over, not picked and dropped"
    assert all(len(other.final) == 20 for other in world.nodes.values())


def test_a_transaction_sent_again_is_not_taken_twice(world: World) -> None:
    world.run(1_000)
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    node = world.nodes["sz-operator"]
    assert node.driver.admit(transaction)
    assert not node.driver.admit(transaction)
    node.driver.spread([transaction])
    world.run(1_000)
    assert not node.driver.admit(transaction)
    world.run(11_000)
    assert all(node.final == [transaction.id] for node in world.nodes.values())


def test_a_block_whose_parent_finality_has_passed_is_not_built_and_costs_a_turn_only(world: World) -> None:
    world.run(2_000)
    sent = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    node = world.nodes["sz-operator"]
    node.submit(sent)
    world.run(1_000)
    store, tip = node.driver.chain.store, node.driver.chain.tip
    passed = store.find_header(tip.header.height - 1)
    assert passed is not None
    # As after a catch-up: the leader waited for a parent that others have made final, and more on it.
    node.driver._executor._building = Build(node.driver.core.current_view, passed.header.view, passed.hash)
    node.driver.tick()
    assert node.driver._executor._building is None
    last = anchor_transaction(world.genesis, 2, START_MS + world.now_ms)
    node.submit(last)
    world.run(5_000)
    assert all(each.final == [sent.id, last.id] for each in world.nodes.values())


def test_a_node_whose_clock_is_wrong_calls_nothing_expired_that_others_record(world: World) -> None:
    world.run(2_000)
    fast = world.nodes["sz-operator"]
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    fast.driver.admit(transaction)
    fast.skew_ms = 90_000
    fast.driver.tick()
    assert fast.refused == []
    fast.driver.spread([transaction])
    world.run(5_000)
    assert all(node.final == [transaction.id] and node.refused == [] for node in world.nodes.values())


def test_nothing_is_called_expired_before_a_final_block_is_past_its_time(world: World) -> None:
    world.run(2_000)
    for member in ("hk-operator", "mainland-bank"):
        world.kill(member)
    node = world.nodes["sz-operator"]
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    node.submit(transaction)
    world.run(70_000)
    assert node.refused == [] and node.driver.mempool.count == 1
    for member in ("hk-operator", "mainland-bank"):
        world.start(member)
    world.run(20_000)
    assert [(refused.id, error.code) for refused, error in node.refused] == [(transaction.id, "expired")]
    assert node.driver.mempool.count == 0
    assert all(each.final == [] for each in world.nodes.values())


def test_what_did_not_apply_on_an_abandoned_block_is_not_refused(world: World) -> None:
    world.run(2_000)
    node = world.nodes["sz-operator"]
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    node.driver.admit(transaction)
    node.driver._intake._refused_above[transaction.id] = node.driver.chain.tip.header.height + 1
    world.run(11_000)
    assert node.refused == [] and not node.driver._intake._refused_above
    world.run(11_000)
    assert all(each.final == [transaction.id] for each in world.nodes.values())


def grown_node(world: World) -> WorldNode:
    world.run(1_000)
    for number in range(4):
        world.nodes["sz-operator"].submit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        world.run(300)
    node = world.nodes["hk-bureau"]
    assert node.driver.chain.tip.header.height >= 4
    return node


def test_a_block_on_a_parent_that_finality_has_passed_counts_as_executed_never(world: World) -> None:
    driver = grown_node(world).driver
    passed, tip = driver.chain.store.find_header(2), driver.chain.tip.header
    assert passed is not None
    usurping = EncodedHeader.encode(
        replace(tip, parent_hash=passed.hash, height=tip.height + 1, transactions_root=transactions_root(()))
    )
    assert driver.chain.propose(usurping, ()) is not None
    assert not driver._executor._ensure_executed(usurping.hash)
    assert driver._executor._ensure_executed(passed.hash)


def test_what_was_submitted_where_nobody_heard_it_is_spread_again(world: World) -> None:
    world.run(2_000)
    node = world.nodes["sz-operator"]
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    node.driver.admit(transaction)
    world.meddle = lambda source, target, data: None if source == "sz-operator" else data
    node.driver.spread([transaction])
    world.run(1_000)
    others = [each for each in world.nodes.values() if each is not node]
    assert all(each.driver.mempool.find(transaction.id) is None for each in others)
    world.meddle = lambda source, target, data: data
    node.driver._has_work = lambda: False  # type: ignore[method-assign]
    world.run(SPREAD_AGAIN_MS + 2_000)
    assert all(transaction.id in each.final for each in others)


def test_what_came_by_gossip_and_is_submitted_again_is_spread_again(world: World) -> None:
    world.run(2_000)
    node = world.nodes["sz-operator"]
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    node.driver._intake._take(transaction)
    assert not node.driver._intake._spread
    assert not node.driver.admit(transaction)
    assert list(node.driver._intake._spread) == [transaction.id]
    world.run(SPREAD_AGAIN_MS + 2_000)
    assert not node.driver._intake._spread and transaction.id in node.final
