"""A node for benchmarks: the node of `luohu node start`, with a delay on what it sends to its peers."""

import asyncio
import signal
from pathlib import Path

import click

from cli.nodes import configure_log
from node.api.server import Api
from node.home import Home
from node.keyfiles import DevelopmentKey
from node.run import NodeProcess, load_parts


async def run(home: Home, delay_ms: float) -> None:
    """Run until SIGTERM. Raises what the node failed with."""
    process = NodeProcess(load_parts(home, DevelopmentKey()), Api, delay_ms=delay_ms)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    try:
        await process.start()
        process.failed.add_done_callback(lambda _failure: ended.set())
        await ended.wait()
    finally:
        await process.stop()
    if process.failed.done():
        raise process.failed.result()


@click.command()
@click.option("--home", type=click.Path(path_type=Path), required=True)
@click.option("--delay-ms", type=float, default=0.0)
def main(home: Path, delay_ms: float) -> None:
    """Run a node on a development home."""
    configure_log()
    asyncio.run(run(Home.open(home), delay_ms))


if __name__ == "__main__":
    main()
