"""A node for benchmarks: the node of `luohu node start`, with a delay on what it sends to its peers.

It counts its synced writes, and writes the counts into its home on SIGUSR1.
"""

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Final

import click

from cli.nodes import configure_log, spare_collections
from node.api.server import Api
from node.files.durablefile import PosixFiles
from node.files.keyfiles import DevelopmentKey
from node.home.home import Home
from node.lifeline import watch_lifeline
from node.run import NodeProcess, load_parts
from node.storage.database import WriteBatch
from node.storage.leveldb import LevelDatabase

SYNCED_FILE: Final = "synced.json"


def count_synced_writes() -> Counter[str]:
    """Count the synced writes of this process from here on, by where they go."""
    counts: Counter[str] = Counter(database=0, vote_log=0)
    write, sync = LevelDatabase.write, PosixFiles.sync

    def counted_write(self: LevelDatabase, batch: WriteBatch, *, is_synced: bool) -> None:
        counts["database"] += is_synced
        write(self, batch, is_synced=is_synced)

    def counted_sync(self: PosixFiles, descriptor: int) -> None:
        counts["vote_log"] += 1
        sync(self, descriptor)

    LevelDatabase.write = counted_write  # type: ignore[method-assign]
    PosixFiles.sync = counted_sync  # type: ignore[method-assign]
    return counts


def write_counts(path: Path, counts: Counter[str]) -> None:
    """Write counts where a benchmark looks for them, whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(counts))
    fresh.rename(path)


async def run(home: Home, delay_ms: float) -> None:
    """Run until SIGTERM. Raises what the node failed with."""
    counts = count_synced_writes()
    process = NodeProcess(load_parts(home, DevelopmentKey()), Api, delay_ms=delay_ms)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, write_counts, home.path / SYNCED_FILE, counts)
    try:
        await process.start()
        spare_collections()
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
    watch_lifeline()
    asyncio.run(run(Home.open(home), delay_ms))


if __name__ == "__main__":
    main()
