"""The core in a world that loses, delays, cuts and crashes (tests/campaigns/simulation/core; docs/consensus.md).

A failure names its seed: `python -m tests.campaigns.simulation.core --seeds 1 --start SEED` repeats it.
"""

from collections import Counter
from functools import partial

import pytest

from tests.campaigns.simulation.core.byzantine import TEMPERS
from tests.campaigns.simulation.core.network import Weather
from tests.campaigns.simulation.core.scenario import Cluster, run_seed

SEEDS = 80
HOUR_MS = 3_600_000


def all_final(cluster: Cluster, item: int) -> bool:
    return all(item in node.final_items() for node in cluster.honest)


def current_view(cluster: Cluster) -> int:
    return max(node.core.current_view for node in cluster.honest if node.core is not None)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_random_worlds_stay_safe_and_move_again_once_calm(first: int) -> None:
    for seed in range(first, first + 10):
        try:
            run_seed(seed)
        except BaseException as error:
            error.add_note(f"repeat: python -m tests.campaigns.simulation.core --seeds 1 --start {seed}")
            raise


@pytest.mark.slow
def test_the_random_worlds_reach_the_rare_situations() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS, SEEDS + 60):
        seen += run_seed(seed).sometimes
    for situation in (
        "view notarized and nullified",
        "parent skips two views or more",
        "crash between persist and send",
        "crash during sync",
        "certified after nullification",
        "jump over more than 5 views",
        "certificate requested",
        "evidence",
        "whole cluster restarted",
        "log compacted",
        "log restored from a backup",
        "amnesia ended",
    ):
        assert seen[situation] > 0, f"{situation}: not seen in {seen}"


def test_one_seed_gives_one_history() -> None:
    for seed in (3, 17, 42):
        assert run_seed(seed).trace_hash == run_seed(seed).trace_hash


@pytest.mark.slow
def test_an_idle_network_is_quiet_for_hours() -> None:
    cluster = Cluster(1)
    cluster.start()
    cluster.run(2 * HOUR_MS)
    heartbeats = 2 * HOUR_MS // 10_000
    assert heartbeats * 95 // 100 <= len(cluster.oracle.log) <= heartbeats
    assert current_view(cluster) <= len(cluster.oracle.log) + 1, "nothing was nullified"
    assert not [name for name in cluster.world.sometimes if name.startswith("nullify")]
    cluster.check()


@pytest.mark.slow
def test_an_idle_network_with_a_dead_validator_skips_its_views_only() -> None:
    cluster = Cluster(2)
    cluster.dead.add(1)
    cluster.start()
    cluster.run(HOUR_MS)
    heartbeats = HOUR_MS // 10_000
    assert heartbeats * 90 // 100 <= len(cluster.oracle.log) <= heartbeats
    assert current_view(cluster) <= len(cluster.oracle.log) * 4 // 3 + 4
    times = {view: time_ms for time_ms, view in reversed(cluster.oracle.views_entered)}
    entered = sorted(times)
    assert all(times[later] - times[view] >= 1_000 for view, later in zip(entered, entered[2:], strict=False))


@pytest.mark.parametrize("offset", range(4))
def test_work_known_to_one_follower_only_is_done_soon(offset: int) -> None:
    cluster = Cluster(7 + offset)
    cluster.start()
    cluster.run(1_500)
    cluster.submit(cluster.nodes[offset], is_gossiped=False)
    start_ms = cluster.world.now_ms
    # Only its own turn as a leader puts the item in; the others are obliged to propose, so turns go round.
    assert cluster.world.run_until(start_ms + 4_000, lambda: all_final(cluster, 1))


def test_work_known_to_one_follower_only_is_done_although_the_leader_is_dead() -> None:
    for dead in range(4):
        cluster = Cluster(20 + dead)
        cluster.dead.add(dead)
        cluster.start()
        cluster.run(8_000)
        cluster.submit(cluster.nodes[(dead + 1) % 4], is_gossiped=False)
        start_ms = cluster.world.now_ms
        assert cluster.world.run_until(start_ms + 8_000, partial(all_final, cluster, 1))


def test_a_dead_leaders_view_costs_one_delay_once_it_is_known_to_be_silent() -> None:
    cluster = Cluster(30)
    cluster.start()
    cluster.run(2_000)
    cluster.nodes[2].crash()
    cluster.dead.add(2)
    cluster.run(7_000)
    for _ in range(8):
        cluster.submit(cluster.nodes[0])
        start_ms = cluster.world.now_ms
        item = cluster.items_count
        assert cluster.world.run_until(start_ms + 500, partial(all_final, cluster, item))


def test_the_whole_cluster_restarts_and_goes_on() -> None:
    cluster = Cluster(40)
    cluster.start()
    cluster.run(2_000)
    for burst in range(5):
        cluster.submit(cluster.nodes[burst % 4])
        cluster.run(15 + 7 * burst)
        for node in cluster.nodes:
            node.crash()
        for node in cluster.nodes:
            node.start()
        cluster.run(500)
    assert cluster.require_progress(30_000) < 30_000
    cluster.check()


def test_two_of_four_halt_safely_and_go_on_when_the_cut_is_mended() -> None:
    cluster = Cluster(50)
    cluster.start()
    cluster.run(2_000)
    cluster.network.partition({0, 1})
    cluster.run(1_000)
    height = len(cluster.oracle.log)
    cluster.submit(cluster.nodes[0])
    cluster.submit(cluster.nodes[2])
    cluster.run(60_000)
    assert len(cluster.oracle.log) == height
    cluster.network.heal()
    assert cluster.require_progress(30_000) < 30_000
    cluster.check()


def test_a_node_cut_off_for_long_jumps_to_the_front() -> None:
    cluster = Cluster(60)
    cluster.start()
    cluster.run(2_000)
    cluster.network.partition({3})
    for _ in range(100):
        cluster.submit(cluster.nodes[0])
        cluster.run(100)
    cluster.network.heal()
    assert cluster.require_progress(20_000) < 20_000
    assert cluster.world.sometimes["jump over more than 5 views"] > 0


def test_heavy_loss_slows_but_does_not_stop() -> None:
    cluster = Cluster(70, weather=Weather(loss_permille=300))
    cluster.start()
    cluster.require_progress()
    cluster.check()


@pytest.mark.parametrize("temper", range(len(TEMPERS)), ids=lambda temper: TEMPERS[temper].__name__)
def test_one_byzantine_of_four_neither_forks_nor_stops_the_rest(temper: int) -> None:
    for seed in range(3):
        cluster = Cluster(seed, byzantine={seed + 1: temper}, weather=Weather(delay_max_ms=60))
        cluster.start()
        for _ in range(40):
            cluster.submit(cluster.nodes[0])
            cluster.run(150)
        cluster.require_progress(60_000)
        cluster.check()


@pytest.mark.parametrize("name", ["Equivocator", "DoubleVoter", "NullifyAndFinalize"])
def test_whoever_signs_twice_is_named_with_evidence(name: str) -> None:
    temper = [kind.__name__ for kind in TEMPERS].index(name)
    cluster = Cluster(5, byzantine={1: temper})
    cluster.start()
    cluster.require_progress(60_000)
    assert cluster.oracle.accused == {1}


def test_a_validator_restored_from_an_old_log_observes_and_then_votes_again() -> None:
    cluster = Cluster(80)
    cluster.start()
    cluster.run(2_000)
    node = cluster.nodes[1]
    backup = list(node.disk.synced)
    cluster.oracle.faulty.add(1)
    for _ in range(10):
        cluster.submit(cluster.nodes[0])
        cluster.run(60)
    node.crash()
    node.disk.synced = backup
    node.disk.chain.clear()
    cluster.oracle.heights[1] = 0
    node.start()
    cluster.require_progress(60_000)
    assert not cluster.oracle.accused, "it signed nothing that contradicts what it forgot"
