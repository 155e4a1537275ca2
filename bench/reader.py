"""A reader: a process of its own that asks one node for paths, over and over, for a time.

    python -m bench.reader --url URL --paths FILE --clients N --seconds S

It prints one JSON object: each request's time, how many were not answered with 200, and the processor time it used.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import click


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reader did."""

    request_seconds: tuple[float, ...]
    refused_count: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return (len(self.request_seconds) - self.refused_count) / self.seconds


class Reader:
    """A reader process on its way."""

    def __init__(self, url: str, paths: Sequence[str], *, clients: int, seconds: float) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(list(paths), file)
        self._file = Path(file.name)
        command = [sys.executable, "-m", "bench.reader", "--url", url, "--paths", file.name]
        command += ["--clients", str(clients), "--seconds", str(seconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def outcome(self) -> Outcome:
        """Wait for the end and return what was done."""
        try:
            found = json.loads(self._process.communicate()[0])
        finally:
            self._file.unlink()
        return Outcome(
            tuple(found["request_seconds"]), found["refused_count"], found["seconds"], found["cpu_seconds"]
        )


async def read_all(url: str, paths: Sequence[str], *, clients: int, seconds: float) -> Outcome:
    """Ask for the paths in turn until the time is up."""
    request_seconds: list[float] = []
    refused_count = 0
    following = itertools.cycle(paths)
    async with aiohttp.ClientSession(base_url=url) as session:
        start, used = time.perf_counter(), time.process_time()

        async def read() -> None:
            nonlocal refused_count
            while time.perf_counter() - start < seconds:
                began = time.perf_counter()
                async with session.get(next(following)) as answer:
                    await answer.read()
                    refused_count += answer.status != 200
                request_seconds.append(time.perf_counter() - began)

        await asyncio.gather(*(read() for _ in range(clients)))
        elapsed = time.perf_counter() - start
    return Outcome(tuple(sorted(request_seconds)), refused_count, elapsed, time.process_time() - used)


@click.command()
@click.option("--url", required=True)
@click.option("--paths", type=click.Path(path_type=Path), required=True)
@click.option("--clients", type=int, required=True)
@click.option("--seconds", type=float, required=True)
def main(url: str, paths: Path, clients: int, seconds: float) -> None:
    """Read prepared paths."""
    outcome = asyncio.run(read_all(url, json.loads(paths.read_text()), clients=clients, seconds=seconds))
    sys.stdout.write(
        json.dumps(
            {
                "request_seconds": outcome.request_seconds,
                "refused_count": outcome.refused_count,
                "seconds": outcome.seconds,
                "cpu_seconds": outcome.cpu_seconds,
            }
        )
    )


if __name__ == "__main__":
    main()
