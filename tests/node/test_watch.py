"""A watch over real drivers, in virtual time: what happens is seen, named, logged and called over when it is."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.rules.certificates import FINALIZE
from node.condition import (
    AMNESIA,
    ASKING,
    CLOCKS_DISAGREE,
    DISK_FULL,
    DISK_LOW,
    FIRST_BLOCK,
    KEY_MISUSED,
    NO_FINALITY,
    NO_QUORUM,
    WELL,
    Condition,
)
from node.consensus.messages import CertificateMessage, VoteMessage, decode_message
from node.consensus.startup import Participation
from node.messages import Consensus, decode_peer_message
from node.watch import Watch, free_size
from tests.support.node_world import START_MS, VALIDATORS, World, WorldNode, anchor_transaction

A, B, C, D = VALIDATORS
HOUR_MS = 3_600_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    for member in VALIDATORS:
        world.start(member)
    world.run(12_000)
    yield world
    world.close()


def watch_over(node: WorldNode, **options: object) -> Watch:
    return Watch(member=node.member, driver=node.driver, clock=node, **options)  # type: ignore[arg-type]


def pass_time(world: World, watches: list[Watch], milliseconds: int) -> None:
    """Let time pass, with a look and a word each second."""
    for _ in range(milliseconds // 1_000):
        world.run(1_000)
        for watch in watches:
            watch.tell()


def codes(condition: Condition) -> list[str]:
    return [each.code for each in condition.troubles]


def logged(caplog: pytest.LogCaptureFixture, code: str) -> list[tuple[str, int]]:
    """Return the level and the duration of each line about a trouble."""
    found = []
    for record in caplog.records:
        arguments = record.args
        if record.name == "node.watch" and isinstance(arguments, tuple) and arguments[0] == code:
            assert isinstance(arguments[1], int)
            event = "mended" if record.message.startswith("condition.mended") else record.levelname
            found.append((event, arguments[1]))
    return found


def split(world: World, *sides: tuple[str, ...]) -> None:
    """Cut the network into sides, as it is once every connection between them has been given up."""
    side_of = {member: number for number, side in enumerate(sides) for member in side}
    world.is_lost = lambda source, target, _data: side_of[source] != side_of[target]
    for member, node in world.nodes.items():
        for other in world.nodes:
            if side_of[member] != side_of[other]:
                node.driver.peer_down(other)


def heal(world: World) -> None:
    """Connect everybody again."""
    world.is_lost = lambda _source, _target, _data: False
    for member, node in world.nodes.items():
        for other in world.nodes:
            if other != member and other not in node.driver.connected:
                node.driver.peer_up(other)


@pytest.mark.slow
def test_a_network_that_is_well_says_so_and_logs_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    watches = [watch_over(node) for node in world.nodes.values()]
    pass_time(world, watches, 120_000)
    assert [watch.look().state for watch in watches] == [WELL] * 4
    assert [record for record in caplog.records if record.name == "node.watch"] == []


@pytest.mark.slow
def test_two_of_four_stopped_are_missed_by_name_and_logged_at_growing_intervals_until_they_are_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watch_over(world.nodes[A])
    pass_time(world, [watch], 12_000)
    world.kill(C)
    world.kill(D)
    pass_time(world, [watch], 2_000)
    pass_time(world, [watch], 284_000)
    condition = watch.look()
    trouble = condition.find(NO_QUORUM)
    assert codes(condition) == [NO_QUORUM] and trouble is not None
    assert "connected 2 of 4 validators, needs 3" in trouble.found
    assert f"{C} for 4 min 4" in trouble.found and f"{D} for 4 min 4" in trouble.found
    assert condition.waits_for is not None
    told = logged(caplog, NO_QUORUM)
    assert [level for level, _ in told] == ["WARNING"] * 4
    assert [lasts for _, lasts in told] == [30, 60, 120, 240]
    world.start(C)
    pass_time(world, [watch], 30_000)
    assert watch.look().state == WELL
    (*_, last) = logged(caplog, NO_QUORUM)
    assert last[0] == "mended"


def test_one_of_four_stopped_is_no_trouble(world: World) -> None:
    watch = watch_over(world.nodes[A])
    world.kill(D)
    pass_time(world, [watch], 60_000)
    assert watch.look().state == WELL


@pytest.mark.slow
def test_a_network_split_in_two_halves_knows_it_on_both_sides(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    watches = {member: watch_over(node) for member, node in world.nodes.items()}
    split(world, (A, B), (C, D))
    pass_time(world, [*watches.values()], 60_000)
    for member, watch in watches.items():
        missing = {C, D} if member in (A, B) else {A, B}
        trouble = watch.look().find(NO_QUORUM)
        assert trouble is not None
        assert {each for each in VALIDATORS if each in trouble.found} == missing
    assert len([each for each in logged(caplog, NO_QUORUM) if each == ("WARNING", 30)]) == 4
    heal(world)
    pass_time(world, [*watches.values()], 30_000)
    assert {watch.look().state for watch in watches.values()} == {WELL}


@pytest.mark.slow
def test_who_hears_of_final_blocks_through_one_peer_is_ready(world: World) -> None:
    """Three have a quorum; the fourth is connected with one of them only."""
    watch = watch_over(world.nodes[A])
    world.is_lost = lambda source, target, _data: A in (source, target) and B not in (source, target)
    for other in (C, D):
        world.nodes[A].driver.peer_down(other)
        world.nodes[other].driver.peer_down(A)
    pass_time(world, [watch], 20_000)
    for _ in range(60):
        pass_time(world, [watch], 1_000)
        assert watch.look().waits_for is None


def test_a_new_chain_waits_for_its_first_block(tmp_path: Path) -> None:
    world = World(tmp_path)
    watch = watch_over(world.start(A))
    world.run(5_000)
    assert codes(watch.look()) == [NO_QUORUM, ASKING, FIRST_BLOCK]
    for member in (B, C):
        world.start(member)
    pass_time(world, [watch], 5_000)
    assert watch.look().state == WELL
    world.close()


def test_a_silent_firewall_is_known_when_finality_does_not_come(world: World) -> None:
    """Connections stay up for as long as nobody gives them up, and carry nothing."""
    watch = watch_over(world.nodes[A])
    pass_time(world, [watch], 12_000)
    world.is_lost = lambda source, target, _data: {source, target} & {C, D} != set()
    pass_time(world, [watch], 45_000)
    condition = watch.look()
    assert codes(condition) == [NO_FINALITY]
    assert f"no vote came from {C}, {D}" in (condition.waits_for or "")


# -- clocks ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_of_four_clocks_two_hours_ahead_are_named_by_everybody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    watches = {member: watch_over(node) for member, node in world.nodes.items()}
    for member in (C, D):
        world.nodes[member].skew_ms = 2 * HOUR_MS
    height = world.nodes[A].store.tip().header.height
    pass_time(world, [*watches.values()], 180_000)
    assert world.nodes[A].store.tip().header.height <= height + 1
    for member, watch in watches.items():
        condition = watch.look()
        assert codes(condition) == [NO_FINALITY, CLOCKS_DISAGREE]
        assert "no quorum of clocks agrees" in (condition.waits_for or "")
        is_ahead = member in (C, D)
        offsets = condition.observations.clock_offsets_ms
        others = {A, B} if is_ahead else {C, D}
        for other in others:
            assert abs(offsets[other] - (-2 if is_ahead else 2) * HOUR_MS) < 1_000
    assert "ERROR" in {level for level, _ in logged(caplog, CLOCKS_DISAGREE)}
    for member in (C, D):
        world.nodes[member].skew_ms = 0
    pass_time(world, [*watches.values()], 120_000)
    assert {watch.look().state for watch in watches.values()} == {WELL}


@pytest.mark.slow
@pytest.mark.parametrize("skew_ms", [-HOUR_MS, -70_000, -5_000, 5_000, HOUR_MS])
def test_one_wrong_clock_is_named_by_the_others_and_known_to_its_own_node(world: World, skew_ms: int) -> None:
    watches = {member: watch_over(node) for member, node in world.nodes.items()}
    world.nodes[D].skew_ms = skew_ms
    seen: dict[str, str] = {}
    for number in range(60):
        world.nodes[A].driver.admit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        pass_time(world, [*watches.values()], 2_000)
        for member, watch in watches.items():
            trouble = watch.look().find(CLOCKS_DISAGREE)
            if trouble is not None:
                seen[member] = trouble.found
    assert "this node's clock is" in seen[D]
    assert (" ahead of 3 others" if skew_ms > 0 else " behind 3 others") in seen[D]
    for member in (A, B, C):
        if member in seen:
            assert f"{D} " in seen[member] and "this node's clock is" not in seen[member]


@pytest.mark.slow
def test_slow_links_are_no_wrong_clocks(world: World) -> None:
    world.delay_ms = 900
    watches = [watch_over(node) for node in world.nodes.values()]
    for number in range(30):
        world.nodes[A].driver.admit(anchor_transaction(world.genesis, number, START_MS + world.now_ms))
        pass_time(world, watches, 2_000)
        assert all(watch.look().find(CLOCKS_DISAGREE) is None for watch in watches)


@pytest.mark.slow
def test_what_a_split_held_back_is_no_slow_clock(world: World) -> None:
    watches = [watch_over(node) for node in world.nodes.values()]
    split(world, (A, B), (C, D))
    pass_time(world, watches, 240_000)
    heal(world)
    for _ in range(60):
        pass_time(world, watches, 1_000)
        assert all(watch.look().find(CLOCKS_DISAGREE) is None for watch in watches)


# -- memory of votes ------------------------------------------------------------------------------------


def empty(world: World, member: str) -> None:
    """Take away all that a node's directory holds."""
    world.kill(member)
    shutil.rmtree(world.directory / member)


def test_two_that_forgot_on_an_idle_network_heal(world: World) -> None:
    watches = {member: watch_over(world.nodes[member]) for member in (A, B)}
    tip = world.nodes[A].store.tip()
    assert not _voted_above(world, C) and not _voted_above(world, D)
    for member in (C, D):
        empty(world, member)
    for member in (C, D):
        watches[member] = watch_over(world.start(member))
    pass_time(world, [*watches.values()], 40_000)
    assert {watch.look().state for watch in watches.values()} == {WELL}
    assert world.nodes[C].store.find_height(tip.encoded_header.hash) == tip.header.height


@pytest.mark.slow
def test_two_that_forgot_votes_above_finality_stand_still_and_everybody_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _vote_above_finality(world)
    for member in (C, D):
        empty(world, member)
    watches = {member: watch_over(world.nodes[member]) for member in (A, B)}
    for member in (C, D):
        watches[member] = watch_over(world.start(member))
    pass_time(world, [*watches.values()], 120_000)
    for member in (C, D):
        condition = watches[member].look()
        assert world.nodes[member].driver.core.standing is Participation.OBSERVING
        assert codes(condition)[0] == AMNESIA and (condition.waits_for or "").startswith(
            "the end of its amnesia"
        )
    for member in (A, B):
        condition = watches[member].look()
        assert codes(condition) == [NO_FINALITY]
        assert f"no vote came from {C}, {D}" in (condition.waits_for or "")
    assert ("WARNING", 30) in logged(caplog, AMNESIA)


@pytest.mark.slow
def test_one_of_two_that_forgot_heals_both_when_its_own_vote_log_comes_back(
    world: World, tmp_path: Path
) -> None:
    _vote_above_finality(world)
    world.kill(C)
    kept = tmp_path / "kept"
    shutil.move(world.directory / C / "votes", kept)
    shutil.rmtree(world.directory / C)
    empty(world, D)
    for member in (C, D):
        world.start(member)
    world.run(60_000)
    assert world.nodes[C].driver.core.standing is Participation.OBSERVING
    world.kill(C)
    for each in (world.directory / C).glob("votes*"):
        shutil.move(each, tmp_path / f"aside {each.name}")
    shutil.move(kept, world.directory / C / "votes")
    world.start(C)
    watches = [watch_over(node) for node in world.nodes.values()]
    pass_time(world, watches, 60_000)
    assert {watch.look().state for watch in watches} == {WELL}


def _voted_above(world: World, member: str) -> bool:
    core = world.nodes[member].driver.core
    return any(found.own for found in core._rounds.above_finalized())


def _has_sent_finalize(world: World, member: str) -> bool:
    above = world.nodes[member].driver.core._rounds.above_finalized()
    return any(FINALIZE in found.own for found in above)


def _vote_above_finality(world: World) -> None:
    """Have all vote in a view in which nothing becomes final: every finalize vote is lost."""

    def is_lost(_source: str, _target: str, data: bytes) -> bool:
        message = decode_peer_message(data)
        if not isinstance(message, Consensus):
            return False
        inner = decode_message(message.message)
        match inner:
            case VoteMessage(vote):
                return vote.subject.kind == FINALIZE
            case CertificateMessage():
                return True
            case _:
                return False

    world.is_lost = is_lost
    world.nodes[A].submit(anchor_transaction(world.genesis, 1, START_MS + world.now_ms))
    while not all(_has_sent_finalize(world, member) for member in VALIDATORS):
        world.run(10)
    world.queue.clear()
    world.is_lost = lambda _source, _target, _data: False


def test_the_question_that_nobody_answers_names_whom_it_waits_for(world: World) -> None:
    for member in VALIDATORS:
        world.kill(member)
    watch = watch_over(world.start(A))
    world.start(B)
    world.run(10_000)
    condition = watch.look()
    trouble = condition.find(ASKING)
    assert codes(condition) == [NO_QUORUM, ASKING] and trouble is not None
    assert "1 of 2 answers came" in trouble.found and f"none from {C}, {D}" in trouble.found


# -- the key, the disk ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_network_that_restarts_again_and_again_never_calls_a_key_misused(world: World) -> None:
    for number in range(24):
        victim = VALIDATORS[number % 4]
        world.nodes[A if victim != A else B].submit(
            anchor_transaction(world.genesis, number, START_MS + world.now_ms)
        )
        world.run(37 * number % 400)
        world.kill(victim)
        if number % 3 == 0:
            shutil.rmtree(world.directory / victim)
        world.run(500)
        world.start(victim)
        world.run(9_000)
        assert [node.driver.own_key.misused_count for node in world.nodes.values()] == [0] * 4
    assert {watch_over(node).look().find(KEY_MISUSED) for node in world.nodes.values()} == {None}


def test_the_disk_is_looked_at_from_time_to_time(world: World) -> None:
    free: list[int | None] = [2**40]
    watch = watch_over(world.nodes[A], free_size=lambda: free[0])
    for size, expected in ((2**20, [DISK_FULL]), (2**25, [DISK_LOW]), (None, [])):
        before = codes(watch.look())
        free[0] = size
        assert codes(watch.look()) == before
        pass_time(world, [watch], 10_000)
        assert codes(watch.look()) == expected


def test_what_is_free_is_what_the_system_says(tmp_path: Path) -> None:
    found = free_size(tmp_path)
    assert found is not None and 0 < found <= shutil.disk_usage(tmp_path).total
    assert free_size(tmp_path / "missing") is None


def test_a_trouble_that_ends_before_its_patience_is_never_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch = watch_over(world.nodes[A])
    split(world, (A, B), (C, D))
    pass_time(world, [watch], 20_000)
    assert watch.look().state == NO_QUORUM
    heal(world)
    pass_time(world, [watch], 30_000)
    assert logged(caplog, NO_QUORUM) == []
