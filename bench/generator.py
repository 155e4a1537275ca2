"""A load generator: a process of its own that submits requests which were made before the clock starts.

    python -m bench.generator --url URL --requests FILE --clients N --seconds S

It says `ready`, waits for a line on standard input, submits, and prints one JSON object: how many transactions
became final, each request's time, and the processor time that it used, to show that it was not the bottleneck.
With `--period-ms` each client begins a request that often, or as soon as the one before is answered; the first one
after `--phase-ms`, so that generators of several nodes do not all begin at once.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import click
import msgpack

from ledger.rules.transactions import Transaction

WAIT_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a generator did: transactions final, seconds from first to last, and each request's seconds."""

    final_count: int
    seconds: float
    request_seconds: tuple[float, ...]
    cpu_seconds: float


class Generator:
    """A generator process, ready to go."""

    def __init__(
        self,
        url: str,
        transactions: Sequence[Transaction],
        directory: Path,
        *,
        clients: int,
        batch: int,
        seconds: float,
        period_ms: float = 0.0,
        phase_ms: float = 0.0,
    ) -> None:
        path = directory / f"requests-{time.monotonic_ns()}"
        path.write_bytes(
            msgpack.packb([_body(transactions[at : at + batch]) for at in range(0, len(transactions), batch)])
        )
        command = [sys.executable, "-m", "bench.generator", "--url", url, "--requests", str(path)]
        command += ["--clients", str(clients), "--seconds", str(seconds), "--period-ms", str(period_ms)]
        command += ["--phase-ms", str(phase_ms)]
        self._bound_s = seconds + 2 * WAIT_MS / 1000
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None, "a pipe"
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the generator did not start")

    def go(self) -> None:
        """Begin to submit."""
        assert self._process.stdin is not None, "a pipe"
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def outcome(self) -> Outcome:
        """Wait for the end and return what was done. Raises TimeoutExpired long after the last answer was due."""
        try:
            output, _ = self._process.communicate(timeout=self._bound_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        found = json.loads(output)
        return Outcome(
            found["final_count"], found["seconds"], tuple(found["request_seconds"]), found["cpu_seconds"]
        )


def _body(transactions: Sequence[Transaction]) -> bytes:
    encoded = [transaction.encoded.hex() for transaction in transactions]
    return json.dumps({"transactions": encoded, "wait_ms": WAIT_MS}).encode()


async def submit_all(
    url: str, bodies: list[bytes], *, clients: int, seconds: float, period_ms: float, phase_ms: float
) -> Outcome:
    """Submit until the time is up or nothing is left."""
    request_seconds: list[float] = []
    final_count = 0
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(base_url=url, headers=headers) as session:
        async with session.get("/v1/health") as answer:
            await answer.read()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        start, used = time.perf_counter(), time.process_time()

        async def submit(first_s: float) -> None:
            nonlocal final_count
            await asyncio.sleep(first_s)
            while bodies and time.perf_counter() - start < seconds:
                began = time.perf_counter()
                async with session.post("/v1/transactions", data=bodies.pop()) as response:
                    content = await response.json()
                request_seconds.append(time.perf_counter() - began)
                final_count += sum(result["state"] == "final" for result in content["results"])
                if period_ms:
                    await asyncio.sleep(max(0.0, began + period_ms / 1000 - time.perf_counter()))

        # Clients that keep a period begin spread over it, not all at once.
        firsts_s = [(phase_ms + each * period_ms / clients) / 1000 for each in range(clients)]
        await asyncio.gather(*(submit(first_s) for first_s in firsts_s))
        elapsed = time.perf_counter() - start
    return Outcome(final_count, elapsed, tuple(request_seconds), time.process_time() - used)


@click.command()
@click.option("--url", required=True)
@click.option("--requests", type=click.Path(path_type=Path), required=True)
@click.option("--clients", type=int, required=True)
@click.option("--seconds", type=float, required=True)
@click.option("--period-ms", type=float, default=0.0)
@click.option("--phase-ms", type=float, default=0.0)
def main(url: str, requests: Path, clients: int, seconds: float, period_ms: float, phase_ms: float) -> None:
    """Submit prepared requests."""
    bodies: list[bytes] = msgpack.unpackb(requests.read_bytes(), max_bin_len=2**31 - 1)
    outcome = asyncio.run(
        submit_all(url, bodies, clients=clients, seconds=seconds, period_ms=period_ms, phase_ms=phase_ms)
    )
    print(
        json.dumps(
            {
                "final_count": outcome.final_count,
                "seconds": outcome.seconds,
                "request_seconds": outcome.request_seconds,
                "cpu_seconds": outcome.cpu_seconds,
            }
        )
    )


if __name__ == "__main__":
    main()
