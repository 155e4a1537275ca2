"""Whole networks that are not well, in one process: status, readiness, metrics and command say the same of it."""

import asyncio
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from cli.exits import FINE, UNREACHABLE
from cli.program import run as run_command
from node.api.server import Api
from node.clock import Clock, SystemClock
from node.condition import (
    CLOCKS_DISAGREE,
    DISK_FULL,
    KEY_MISUSED,
    NO_FINALITY,
    NO_QUORUM,
    WELL,
)
from node.files.keyfiles import DevelopmentKey
from node.home.home import Home
from node.home.settings import Address
from node.run import NodeProcess, load_parts
from tests.campaigns.chaos.links import Links, lanes_between
from tests.support.machine import PATIENCE_S
from tests.support.ports import take_ports
from tests.support.running_network import (
    VALIDATORS,
    RunningNetwork,
    make_network,
    numbered_anchor,
    run_network,
)

pytestmark = pytest.mark.slow

A, B, C, D = VALIDATORS


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.1)


async def fetch(url: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.json()


def state_of(running: RunningNetwork, member: str) -> str:
    return running.processes[member].node.status().condition.state


def troubles_of(running: RunningNetwork, member: str) -> set[str]:
    return {each.code for each in running.processes[member].node.status().condition.troubles}


def metric(running: RunningNetwork, member: str, name: str, **labels: str) -> float | None:
    return running.processes[member].node.registry.get_sample_value(name, labels)


def test_two_of_four_stopped_are_told_by_status_readiness_metrics_and_command_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            await until(lambda: all(state_of(running, member) == WELL for member in VALIDATORS))
            url = running.url(A)
            assert (await fetch(f"{url}/v1/ready"))[0] == 200
            for member in (C, D):
                await running.stop(member)
            await until(lambda: state_of(running, A) == NO_QUORUM)

            status, answer = await fetch(f"{url}/v1/ready")
            error = answer["error"]
            assert isinstance(error, dict)
            assert (status, error["code"]) == (503, "not-ready")
            for part in ("connected 2 of 4 validators, needs 3", C, D, "last final block"):
                assert part in error["found"]
            assert error["cure"].startswith("Start the nodes that are missing")

            _, shown = await fetch(f"{url}/v1/status")
            condition = shown["condition"]
            assert isinstance(condition, dict)
            assert condition["state"] == NO_QUORUM
            assert condition["quorum"]["connected"] == [A, B]
            assert [each["member"] for each in condition["quorum"]["missing"]] == [C, D]
            assert abs(condition["troubles"][0]["since_ms"] - time.time() * 1_000) < PATIENCE_S * 1_000

            assert metric(running, A, "luohu_ready") == 0
            assert metric(running, A, "luohu_trouble", code=NO_QUORUM) == 1
            assert metric(running, A, "luohu_validators_connected") == 2
            assert (metric(running, A, "luohu_finality_age_seconds") or 0) > 0

            command = ["node", "status", "--url", url]
            assert await asyncio.to_thread(run_command, command) == UNREACHABLE
            printed = capsys.readouterr().out
            assert "is not ready: waits for a quorum: connected 2 of 4 validators, needs 3" in printed
            assert "Start the nodes that are missing" in printed

            await running.start(C)
            await until(lambda: state_of(running, A) == WELL)
            assert (await fetch(f"{url}/v1/ready"))[0] == 200
            assert await asyncio.to_thread(run_command, command) == FINE

    asyncio.run(live())


@asynccontextmanager
async def linked_network(directory: Path) -> AsyncIterator[tuple[RunningNetwork, Links]]:
    """Run a network whose connections go through links of the test."""
    running = RunningNetwork(make_network(directory))
    ports = {member: running.listen(member)[1] for member in VALIDATORS}
    async with AsyncExitStack() as stack:
        links = Links(ports, random.Random(1))
        links.open()
        stack.push_async_callback(links.close)
        for member in VALIDATORS:
            parts = load_parts(running.network.homes[member], DevelopmentKey())
            peers = {
                other: Address("127.0.0.1", links.addresses[member, other])
                for other in VALIDATORS
                if other != member
            }
            process = NodeProcess(replace(parts, settings=replace(parts.settings, peers=peers)), Api)
            await process.start()
            running.processes[member] = process
            stack.push_async_callback(process.stop)
        yield running, links
        assert not any(process.failed.done() for process in running.processes.values())


def test_behind_a_silent_firewall_both_halves_know_it_and_go_on_when_it_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def live() -> None:
        async with linked_network(tmp_path / "network") as (running, links):
            await until(lambda: all(state_of(running, member) == WELL for member in VALIDATORS))
            firewall = lanes_between((A, B), (C, D))
            links.stall(firewall)
            await until(lambda: all(NO_QUORUM in troubles_of(running, member) for member in VALIDATORS))
            await until(lambda: caplog.text.count("condition.trouble code=no-quorum") >= 4)
            links.heal(firewall)
            await until(lambda: all(state_of(running, member) == WELL for member in VALIDATORS))

    caplog.set_level(logging.WARNING)
    asyncio.run(live())


class AheadClock:
    """The machine's clocks, of which somebody set the wall clock ahead."""

    def __init__(self, ahead_ms: int) -> None:
        self.ahead_ms = ahead_ms
        self._clock = SystemClock()

    def wall_ms(self) -> int:
        return self._clock.wall_ms() + self.ahead_ms

    def monotonic_ms(self) -> int:
        return self._clock.monotonic_ms()


def test_two_of_four_clocks_two_hours_ahead_are_named_where_they_are_and_elsewhere(tmp_path: Path) -> None:
    async def live() -> None:
        running = RunningNetwork(make_network(tmp_path / "network"))
        clocks: dict[str, Clock] = {member: SystemClock() for member in (A, B)}
        clocks |= {member: AheadClock(7_200_000) for member in (C, D)}
        try:
            for member, clock in clocks.items():
                parts = load_parts(running.network.homes[member], DevelopmentKey())
                process = NodeProcess(parts, Api, clock=clock)
                await process.start()
                running.processes[member] = process
            await until(lambda: all(CLOCKS_DISAGREE in troubles_of(running, member) for member in VALIDATORS))
            await until(lambda: all(NO_FINALITY in troubles_of(running, member) for member in VALIDATORS))
            for member in VALIDATORS:
                status, answer = await fetch(f"{running.url(member)}/v1/ready")
                assert status == 503
                assert "clocks agree" in str(answer)
                assert abs(metric(running, member, "luohu_clock_offset_seconds") or 0) > 7_000
        finally:
            for member in list(running.processes):
                await running.stop(member)

    asyncio.run(live())


def test_one_key_in_two_homes_is_told_in_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copy of a home, started elsewhere "for safety"."""

    async def live() -> None:
        async with run_network(tmp_path / "network") as running:
            await until(lambda: all(state_of(running, member) == WELL for member in VALIDATORS))
            copied = tmp_path / "copy"
            shutil.copytree(running.network.homes[D].path, copied)
            parts = load_parts(Home.open(copied), DevelopmentKey())
            listen, api = (Address("127.0.0.1", port) for port in take_ports(2))
            copy = NodeProcess(replace(parts, settings=replace(parts.settings, listen=listen, api=api)), Api)
            await copy.start()
            running.processes["copy"] = copy
            number = 0

            async def are_both_told() -> bool:
                nonlocal number
                number += 1
                await running.processes[A].node.submit([numbered_anchor(running.network, number)], wait_ms=0)
                return all(KEY_MISUSED in troubles_of(running, each) for each in (D, "copy"))

            await until(are_both_told)
            for each in (D, "copy"):
                assert metric(running, each, "luohu_trouble", code=KEY_MISUSED) == 1
            assert KEY_MISUSED not in troubles_of(running, A)
            await until(lambda: "condition.trouble code=key-misused" in caplog.text)
            assert {
                record.levelname for record in caplog.records if "code=key-misused" in record.getMessage()
            } == {"ERROR"}

    asyncio.run(live())


IN_NAMESPACE = "LUOHU_TEST_MAY_MOUNT"


def test_a_full_disk_is_told_before_the_node_stops(tmp_path: Path) -> None:
    """In a mount namespace of its own, so that nothing of the mount is left. Where that is not permitted: injected."""
    command = [
        "unshare",
        "--mount",
        sys.executable,
        "-m",
        "tests.node.test_unwell",
        f"{tmp_path / 'network'}",
    ]
    if shutil.which("unshare") is None or os.geteuid() != 0:
        asyncio.run(live_on_small_disk(tmp_path / "network", None))
        return
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, IN_NAMESPACE: "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def live_on_small_disk(directory: Path, mount: Callable[[Path], None] | None) -> None:
    """Fill the disk under one node's data, see it told, and make room again."""
    running = RunningNetwork(make_network(directory))
    data = running.network.homes[D].data
    data.mkdir(exist_ok=True)
    if mount is not None:
        mount(data)
    try:
        for member in VALIDATORS:
            await running.start(member)
        process = running.processes[D]
        free: list[int | None] = [None]
        if mount is None:
            process.watch._free_size = lambda: free[0]
        await until(lambda: process.node.status().condition.waits_for is None)
        if mount is None:
            free[0] = 1_000_000
        else:
            found = os.statvfs(data)
            with (data / "ballast").open("wb") as ballast:
                os.posix_fallocate(ballast.fileno(), 0, found.f_bavail * found.f_frsize - 3_500_000)
        await until(lambda: DISK_FULL in troubles_of(running, D))
        status, answer = await fetch(f"{running.url(D)}/v1/ready")
        assert status == 503 and "room on its disk" in str(answer)
        assert not process.failed.done()
        free[0] = None
        (data / "ballast").unlink(missing_ok=True)
        await until(lambda: DISK_FULL not in troubles_of(running, D))
    finally:
        for member in list(running.processes):
            await running.stop(member)


def _mount_small(data: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(data)], check=True)


if __name__ == "__main__":
    assert os.environ.get(IN_NAMESPACE), "run in a mount namespace"
    asyncio.run(live_on_small_disk(Path(sys.argv[1]), _mount_small))
