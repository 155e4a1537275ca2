"""What a node tells of itself is what happened: as often, and in virtual time exactly as long."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

import pytest
from prometheus_client import CollectorRegistry

from node.histograms import CLIENTS, PEERS, measure_into
from node.measurements import Measurements
from node.messages import StoredBlock, WantSnapshot, decode_peer_message
from node.replica.intake import GOSSIP_PER_TICK_MAX
from node.running import ADMITTED_PER_TURN_MAX, RunningNode
from node.sync.host import SyncTuning
from node.watch import Watch
from tests.support.node_world import START_MS, VALIDATORS, World, WorldNode, anchor_transaction, sign

Result = TypeVar("Result")
MEASURED = "sz-operator"
SLEEPER = "hk-operator"
TUNING = SyncTuning(span=4, snapshot_distance=10_000)


@dataclass(slots=True)
class Told:
    """What one node told, by what it measured."""

    finality: list[float] = field(default_factory=list)
    block_building: list[float] = field(default_factory=list)
    block_execution: list[float] = field(default_factory=list)
    client_signatures: list[float] = field(default_factory=list)
    peer_signatures: list[float] = field(default_factory=list)
    sync_span: list[float] = field(default_factory=list)
    sync_snapshot: list[float] = field(default_factory=list)
    loop_pause: list[float] = field(default_factory=list)

    def measurements(self) -> Measurements:
        return Measurements(**{each.name: getattr(self, each.name).append for each in fields(self)})


def start(world: World, member: str) -> tuple[WorldNode, Told]:
    """Start a node that is measured."""
    told = Told()
    world.measurements, before = told.measurements(), world.measurements
    node = world.start(member)
    world.measurements = before
    return node, told


def slowed(
    world: World, action: Callable[..., Result], takes_ms: int, calls: list[int]
) -> Callable[..., Result]:
    """Return an action that takes so long in virtual time, and notes when it was called."""

    def slow(*arguments: object, **options: object) -> Result:
        calls.append(world.now_ms)
        world.now_ms += takes_ms
        return action(*arguments, **options)

    return slow


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, tuning=TUNING, interval=4, chunk_size=700)
    yield world
    world.close()


@pytest.fixture
def measured(world: World) -> tuple[WorldNode, Told]:
    """Four nodes at work, one of them measured."""
    others = [member for member in VALIDATORS if member != MEASURED]
    for member in others:
        world.start(member)
    node, told = start(world, MEASURED)
    world.run(1_000)
    return node, told


def anchors(world: World, count: int) -> list[bytes]:
    return [
        anchor_transaction(world.genesis, number, START_MS + world.now_ms).encoded for number in range(count)
    ]


def test_finality_is_told_of_what_was_admitted_here_from_admission_on(
    world: World, measured: tuple[WorldNode, Told]
) -> None:
    node, told = measured
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    admitted_ms = world.now_ms
    node.submit(transaction)
    while transaction.id not in node.final:
        world.run(1)
    assert told.finality == [(world.now_ms - admitted_ms) / 1000]
    assert told.finality[0] > 0


def test_what_came_by_gossip_alone_has_no_admission_here(
    world: World, measured: tuple[WorldNode, Told]
) -> None:
    node, told = measured
    transaction = anchor_transaction(world.genesis, 1, START_MS + world.now_ms)
    world.nodes["hk-bureau"].submit(transaction)
    world.run(1_000)
    assert transaction.id in node.final
    assert told.finality == []


def test_what_is_refused_or_expires_never_was_final(world: World, measured: tuple[WorldNode, Told]) -> None:
    node, told = measured
    now_ms = START_MS + world.now_ms
    first = anchor_transaction(world.genesis, 1, now_ms)
    again = sign(world.genesis, "hk-bureau", now_ms + 1, *first.body.operations)
    node.driver.admit(first)
    node.driver.admit(again)
    node.driver.spread([first, again])
    world.run(2_000)
    assert [transaction for transaction, _ in node.refused] == [again]
    assert len(told.finality) == 1
    for member in [member for member in VALIDATORS if member != MEASURED]:
        world.kill(member)
    late = anchor_transaction(world.genesis, 2, START_MS + world.now_ms)
    node.submit(late)
    world.run(70_000)
    for member in VALIDATORS:
        if member != MEASURED:
            world.start(member)
    world.run(20_000)
    assert [transaction for transaction, _ in node.refused] == [again, late]
    assert len(told.finality) == 1
    assert node.driver._intake._admitted_ms == {}


def test_building_is_told_once_for_each_block_that_was_built(
    world: World, measured: tuple[WorldNode, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, told = measured
    told.block_building.clear()
    built: list[int] = []
    monkeypatch.setattr(node.driver.chain, "build", slowed(world, node.driver.chain.build, 7, built))
    for number in range(6):
        world.nodes["hk-bureau"].submit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        world.run(1_000)
    assert built
    assert told.block_building == [0.007] * len(built)


def test_execution_is_told_once_for_each_block_of_another_leader(
    world: World, measured: tuple[WorldNode, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, told = measured
    told.block_execution.clear()
    executed: list[int] = []
    monkeypatch.setattr(node.driver.chain, "execute", slowed(world, node.driver.chain.execute, 3, executed))
    for number in range(4):
        world.nodes["hk-bureau"].submit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        world.run(1_000)
    assert executed
    assert told.block_execution == [0.003] * len(executed)


def test_clients_signatures_are_told_once_a_turn(
    world: World, measured: tuple[WorldNode, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, told = measured
    running = RunningNode(
        genesis=world.genesis,
        member=MEASURED,
        driver=node.driver,
        store=node.store,
        clock=node,
        registry=CollectorRegistry(),
        find_member_key=lambda: None,
        peers_connected=tuple,
        watch=Watch(member=MEASURED, driver=node.driver, clock=node),
        measurements=told.measurements(),
    )
    monkeypatch.setattr(node.driver, "admit", slowed(world, node.driver.admit, 1, []))
    sent = anchors(world, ADMITTED_PER_TURN_MAX + 3)
    asyncio.run(running.submit(sent, wait_ms=0))
    assert told.client_signatures == [ADMITTED_PER_TURN_MAX / 1000, 3 / 1000]


def test_peers_signatures_are_told_once_a_turn(
    world: World, measured: tuple[WorldNode, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, told = measured
    checked: list[int] = []
    slow = slowed(world, node.driver.chain.check_transaction, 1, checked)
    monkeypatch.setattr(node.driver.chain, "check_transaction", slow)
    told.peer_signatures.clear()
    queue = node.driver._intake.gossip_queue
    for number in range(GOSSIP_PER_TICK_MAX + 3):
        transaction = anchor_transaction(world.genesis, number, START_MS + world.now_ms)
        queue.put("hk-bureau", transaction.id, transaction.encoded)
    assert node.driver._intake.look_at_gossip()
    assert node.driver._intake.look_at_gossip()
    assert told.peer_signatures == [GOSSIP_PER_TICK_MAX / 1000, 3 / 1000]
    assert len(checked) == GOSSIP_PER_TICK_MAX + 3
    assert not node.driver._intake.look_at_gossip()
    assert len(told.peer_signatures) == 2


def is_single_block(_source: str, target: str, data: bytes) -> bool:
    """Lose what consensus fetches one by one, so that sync is what catches up."""
    return target == SLEEPER and isinstance(decode_peer_message(data), StoredBlock)


def grow_without_the_sleeper(world: World, count: int) -> int:
    """Make so many blocks final on the other three; return the height."""
    world.is_lost = is_single_block
    world.kill(SLEEPER)
    node = world.nodes[MEASURED]
    height = node.store.tip().header.height + count
    while node.store.tip().header.height < height:
        number = 1_000 + node.store.tip().header.height
        node.submit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        world.run(120)
    return height


def test_each_span_that_was_fetched_is_told_once(
    world: World, measured: tuple[WorldNode, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    height = grow_without_the_sleeper(world, 10)
    sleeper, told = start(world, SLEEPER)
    began_ms = world.now_ms
    committed: list[int] = []
    commit = slowed(world, sleeper.driver.commit_final, 0, committed)
    monkeypatch.setattr(sleeper.driver, "commit_final", commit)
    while sleeper.store.tip().header.height < height:
        world.run(10)
    assert len(committed) > 1
    assert len(told.sync_span) == len(committed)
    assert 0 < sum(told.sync_span) <= (world.now_ms - began_ms) / 1000
    assert told.sync_snapshot == []


def test_a_snapshot_is_told_from_the_question_to_the_switch(
    world: World, measured: tuple[WorldNode, Told]
) -> None:
    grow_without_the_sleeper(world, 14)
    shutil.rmtree(world.directory / SLEEPER)
    asked: list[int] = []

    def note(source: str, _target: str, data: bytes) -> bytes:
        if source == SLEEPER and isinstance(decode_peer_message(data), WantSnapshot):
            asked.append(world.now_ms)
        return data

    world.meddle = note
    world.tuning = replace(TUNING, snapshot_distance=7, offers_ms=1_000)
    sleeper, told = start(world, SLEEPER)
    while sleeper.store.gap() == (0, 0):
        world.run(1)
    assert told.sync_snapshot == [(world.now_ms - asked[0]) / 1000]
    assert told.sync_snapshot[0] > 0


def test_each_measurement_is_counted_in_a_histogram_of_its_own() -> None:
    registry = CollectorRegistry()
    measurements = measure_into(registry)
    for number, each in enumerate(fields(Measurements)):
        getattr(measurements, each.name)(float(number + 1))

    def total(name: str, **labels: str) -> tuple[float | None, float | None]:
        counted = registry.get_sample_value(f"luohu_{name}_seconds_count", labels)
        return counted, registry.get_sample_value(f"luohu_{name}_seconds_sum", labels)

    assert [each.name for each in fields(Measurements)] == [each.name for each in fields(Told)]
    assert total("finality") == (1, 1)
    assert total("block_building") == (1, 2)
    assert total("block_execution") == (1, 3)
    assert total("signature_verification", source=CLIENTS) == (1, 4)
    assert total("signature_verification", source=PEERS) == (1, 5)
    assert total("sync_span") == (1, 6)
    assert total("sync_snapshot") == (1, 7)
    assert total("loop_pause") == (1, 8)


def test_two_nodes_in_one_process_count_apart() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    measure_into(first).finality(1.0)
    measure_into(second)
    assert first.get_sample_value("luohu_finality_seconds_count") == 1
    assert second.get_sample_value("luohu_finality_seconds_count") == 0
