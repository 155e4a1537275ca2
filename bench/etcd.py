"""Three nodes of etcd beside us, where an `etcd` is on the path: the same value size, durable, on loopback.

It is asked through its JSON gateway, since this project brings no gRPC client, by as many generator processes as
commit has. What the gateway costs is etcd's loss: the figure is a lower bound of what etcd does.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import aiohttp
import click

from bench.cluster import stop
from bench.report import percentile
from node.files.folders import passing_folder
from node.home.consortium import free_ports

NODES_COUNT: Final = 3
GENERATORS_COUNT: Final = 4
CLIENTS_PER_GENERATOR: Final = 64
READY_S: Final = 30.0


def etcd_rate(*, seconds: float, value_size: int) -> dict[str, object]:
    """Start three nodes, put values from several processes, and return the rate and how long a put took."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(passing_folder(None, prefix="luohu-bench-")))
        ports = free_ports(2 * NODES_COUNT)
        processes = tuple(_start(directory, ports, index) for index in range(NODES_COUNT))
        stack.callback(stop, processes)
        urls = [f"http://127.0.0.1:{port}" for port in ports[:NODES_COUNT]]
        asyncio.run(_wait_until_ready(urls[-1]))
        generators = [
            _generator(urls[index % NODES_COUNT], seconds, value_size, CLIENTS_PER_GENERATOR)
            for index in range(GENERATORS_COUNT)
        ]
        outcomes = [json.loads(generator.communicate()[0]) for generator in generators]
        lone = json.loads(_generator(urls[0], 2.0, value_size, 1).communicate()[0])
    times = sorted(second for outcome in outcomes for second in outcome["put_seconds"])
    rate = sum(len(outcome["put_seconds"]) / outcome["seconds"] for outcome in outcomes)
    return {
        "puts_per_second": round(rate),
        "clients": GENERATORS_COUNT * CLIENTS_PER_GENERATOR,
        "put_ms_p50": round(1_000 * percentile(times, 50), 2),
        "put_ms_p99": round(1_000 * percentile(times, 99), 2),
        "lone_put_ms_p50": round(1_000 * percentile(sorted(lone["put_seconds"]), 50), 2),
        "generator_cpu_share": round(sum(each["cpu_seconds"] / each["seconds"] for each in outcomes), 3),
        "through": "the JSON gateway",
    }


def _start(directory: Path, ports: tuple[int, ...], index: int) -> "subprocess.Popen[bytes]":
    client, peer = ports[index], ports[NODES_COUNT + index]
    cluster = ",".join(f"n{each}=http://127.0.0.1:{ports[NODES_COUNT + each]}" for each in range(NODES_COUNT))
    command = ["etcd", "--name", f"n{index}", "--data-dir", str(directory / f"n{index}")]
    command += ["--listen-client-urls", f"http://127.0.0.1:{client}"]
    command += ["--advertise-client-urls", f"http://127.0.0.1:{client}"]
    command += ["--listen-peer-urls", f"http://127.0.0.1:{peer}"]
    command += ["--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"]
    command += ["--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "error"]
    environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64"}
    with (directory / f"n{index}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)


def _generator(url: str, seconds: float, value_size: int, clients: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench.etcd", "--url", url, "--seconds", str(seconds)]
    command += ["--value-size", str(value_size), "--clients", str(clients)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def _wait_until_ready(url: str) -> None:
    async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


async def _put_all(url: str, *, seconds: float, value_size: int, clients: int) -> dict[str, object]:
    put_seconds: list[float] = []
    start, used = time.perf_counter(), time.process_time()

    def body() -> bytes:
        key, value = os.urandom(32), os.urandom(value_size)
        return json.dumps(
            {"key": base64.b64encode(key).decode(), "value": base64.b64encode(value).decode()}
        ).encode()

    async def put(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() - start < seconds:
            began = time.perf_counter()
            async with session.post("/v3/kv/put", data=body()) as answer:
                await answer.read()
                answer.raise_for_status()
            put_seconds.append(time.perf_counter() - began)

    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(base_url=url, connector=connector) as session:
        await asyncio.gather(*(put(session) for _ in range(clients)))
    return {
        "put_seconds": put_seconds,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - used,
    }


@click.command()
@click.option("--url", required=True)
@click.option("--seconds", type=float, required=True)
@click.option("--value-size", type=int, required=True)
@click.option("--clients", type=int, required=True)
def main(url: str, seconds: float, value_size: int, clients: int) -> None:
    """Put random values for a time: the generator process of this benchmark."""
    found = asyncio.run(_put_all(url, seconds=seconds, value_size=value_size, clients=clients))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
