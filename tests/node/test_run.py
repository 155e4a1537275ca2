"""Whole nodes in one process: homes, TLS, disks, signatures and clocks are real."""

import asyncio
import gc
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.node import node as node_commands
from ledger.errors import UnfitEnvironment
from ledger.selftest import require_fit
from node.api.service import FINAL, REFUSED, Submission
from node.consensus.effects import Finalized
from node.errors import NodeStopped
from node.files.configfile import ConfigError
from node.files.keyfiles import DevelopmentKey
from node.home.home import Home
from node.home.repair import CORE_LOG
from node.replica.corelog import find_segments
from node.replica.explain import replay
from node.run import CLOCK_TOLERANCE_MS, ApiServer, NodeProcess, StartRefused, load_parts
from node.running import RunningNode
from tests.support.running_network import VALIDATORS, make_network, numbered_anchor


class NoClients:
    """An API that nobody calls: these tests talk to the node itself."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node

    async def start(self, host: str, port: int) -> int:
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.accepting = asyncio.create_task(self._accept())
        return port

    async def _accept(self) -> None:
        await self.broken

    async def close(self) -> None:
        self.accepting.cancel()


def make_api(node: RunningNode) -> ApiServer:
    return NoClients(node)


async def run_until_ready(*_parts: object, on_ready: Callable[[], None]) -> None:
    on_ready()


def test_what_a_started_node_is_made_of_is_left_out_of_collections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network(tmp_path / "network")
    monkeypatch.setattr("node.run.run_node", run_until_ready)
    # The tests themselves are frozen (tests/conftest.py).
    gc.unfreeze()
    try:
        started = CliRunner().invoke(
            node_commands, ["start", "--home", str(network.homes["hk-bureau"].path)], catch_exceptions=False
        )
        assert "is running" in started.output
        assert gc.get_freeze_count() > len(gc.get_objects())
    finally:
        gc.unfreeze()


def start_process(home: Home) -> NodeProcess:
    return NodeProcess(load_parts(home, DevelopmentKey()), make_api)


def measured_count(process: NodeProcess, name: str) -> float:
    """Return how often a node measured something."""
    count = process.node.registry.get_sample_value(f"luohu_{name}_seconds_count")
    assert count is not None, name
    return count


async def settle(process: NodeProcess, *encoded: bytes) -> list[Submission]:
    return await process.node.submit(encoded, wait_ms=15_000)


def test_four_nodes_agree_over_tls_one_leaves_and_catches_up(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")

    async def live() -> None:
        processes = {member: start_process(network.homes[member]) for member in VALIDATORS}
        for process in processes.values():
            await process.start()
        try:
            (first,) = await settle(processes["sz-operator"], numbered_anchor(network, 1))
            assert first.state == FINAL
            (again,) = await settle(processes["hk-bureau"], numbered_anchor(network, 1))
            assert again.state == REFUSED
            assert again.error is not None
            assert again.error.code == "already-recorded"

            await processes.pop("hk-operator").stop()
            results = await settle(
                processes["mainland-bank"], *(numbered_anchor(network, n) for n in range(2, 12))
            )
            assert {result.state for result in results} == {FINAL}

            back = processes["hk-operator"] = start_process(network.homes["hk-operator"])
            await back.start()
            heights = [result.height for result in results if result.height is not None]
            await asyncio.wait_for(back.node.wait_for_height(max(heights)), 15)
            (last,) = await settle(back, numbered_anchor(network, 99))
            assert last.state == FINAL
            # Each counts in a registry of its own what clients submitted to it and saw final.
            counts = {member: measured_count(each, "finality") for member, each in processes.items()}
            assert counts == {"sz-operator": 1, "hk-bureau": 0, "mainland-bank": 10, "hk-operator": 1}
            assert measured_count(processes["mainland-bank"], "block_execution") > 0
            async with asyncio.timeout(15):
                while measured_count(back, "loop_pause") == 0:
                    await asyncio.sleep(0.01)
        finally:
            for process in processes.values():
                await process.stop()
        assert not any(process.failed.done() for process in processes.values())

    asyncio.run(live())


def test_a_home_runs_in_one_process_at_a_time(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")

    async def live() -> None:
        process = start_process(network.homes["sz-operator"])
        try:
            with pytest.raises(StartRefused, match="--url"):
                start_process(network.homes["sz-operator"])
        finally:
            await process.start()
            await process.stop()

    asyncio.run(live())


def test_a_member_without_a_node_has_none_to_start(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")
    with pytest.raises(ConfigError, match="name the home of a member with a node"):
        load_parts(network.homes["hk-bank"], DevelopmentKey())


def test_a_node_whose_driver_breaks_ends_with_the_reason(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")

    async def live() -> None:
        process = start_process(network.homes["sz-operator"])
        await process.start()
        try:
            process.driver.tick = _break  # type: ignore[method-assign]
            failure = await asyncio.wait_for(process.failed, 5)
            assert isinstance(failure, NodeStopped)
        finally:
            await process.stop()

    asyncio.run(live())


def _break() -> None:
    raise NodeStopped("a broken invariant")


def break_network(process: NodeProcess) -> None:
    process._network._receive_queue.close(AttributeError("of a connection's task"))


def break_api(process: NodeProcess) -> None:
    assert isinstance(process._api, NoClients)
    process._api.broken.set_exception(NodeStopped("a broken invariant"))


def break_watch(process: NodeProcess) -> None:
    process.watch.tell = _break  # type: ignore[method-assign]


@pytest.mark.parametrize("broken", [break_network, break_api, break_watch])
def test_a_node_of_which_a_part_fails_for_good_ends_with_the_reason(
    tmp_path: Path, broken: Callable[[NodeProcess], None]
) -> None:
    """A node that hears no peer, or serves no client, any more would look alive to its operator."""
    network = make_network(tmp_path / "network")

    async def live() -> None:
        process = start_process(network.homes["sz-operator"])
        await process.start()
        try:
            broken(process)
            failure = await asyncio.wait_for(process.failed, 10)
            assert "broken invariant" in f"{failure}" or "of a connection's task" in f"{failure}"
        finally:
            await process.stop()

    asyncio.run(live())


def test_an_observer_follows_without_voting(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")

    async def live() -> None:
        members = [*VALIDATORS, "auditor"]
        processes = {member: start_process(network.homes[member]) for member in VALIDATORS}
        for process in processes.values():
            await process.start()
        try:
            (first,) = await settle(processes["sz-operator"], numbered_anchor(network, 1))
            assert first.height is not None
            observer = processes["auditor"] = start_process(network.homes["auditor"])
            await observer.start()
            await asyncio.wait_for(observer.node.wait_for_height(first.height), 15)
            (second,) = await settle(observer, numbered_anchor(network, 2))
            assert second.state == FINAL
            assert not observer.node.status().is_voting
            assert sorted(processes) == sorted(members)
        finally:
            for process in processes.values():
                await process.stop()
        assert not any(process.failed.done() for process in processes.values())

    asyncio.run(live())
    for member in (*VALIDATORS, "auditor"):
        paths = find_segments(network.homes[member].data / CORE_LOG)
        decisions = [decision for path in paths for decision in replay(path)]
        assert sum(isinstance(effect, Finalized) for each in decisions for effect in each.effects) >= 2
        assert [each for each in decisions if each.deviation or each.failure] == []


class WrongClock:
    """A wall clock that somebody set wrong."""

    def __init__(self, wall_ms: int) -> None:
        self._wall_ms = wall_ms

    def wall_ms(self) -> int:
        return self._wall_ms

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def test_a_node_reads_the_clock_that_it_is_given_and_refuses_one_before_genesis(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")
    genesis_ms = network.genesis.content.time_ms

    async def live(clock: WrongClock) -> None:
        parts = load_parts(network.homes["sz-operator"], DevelopmentKey())
        process = NodeProcess(parts, make_api, clock=clock)
        await process.start()
        await process.stop()

    with pytest.raises(StartRefused, match="clock"):
        asyncio.run(live(WrongClock(genesis_ms - CLOCK_TOLERANCE_MS - 1)))
    asyncio.run(live(WrongClock(genesis_ms - CLOCK_TOLERANCE_MS)))


def test_a_node_does_not_start_where_a_library_errs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = load_parts(make_network(tmp_path / "network").homes["sz-operator"], DevelopmentKey())

    async def live() -> None:
        NodeProcess(parts, make_api)

    require_fit.cache_clear()
    monkeypatch.setattr("nacl.bindings.crypto_core_ed25519_is_valid_point", lambda _key: True)
    with pytest.raises(UnfitEnvironment, match="PyNaCl"):
        asyncio.run(live())
    assert not parts.data.exists() or not any(parts.data.iterdir()), "nothing was opened or written"
