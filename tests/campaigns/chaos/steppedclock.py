"""A wall clock that is stepped from another process, and a node that runs by it.

`python -m tests.campaigns.chaos.steppedclock HOME` runs the node of a home. `HOME/clock` holds how far its wall clock
is off, in milliseconds: eight bytes, signed, big-endian, read anew each time. production has no such clock.
"""

import asyncio
import logging
import mmap
import sys
import time
from pathlib import Path

from cli.nodes import configure_log, spare_collections
from node.api.server import Api
from node.clock import Clock
from node.files.keyfiles import DevelopmentKey
from node.home.home import Home
from node.lifeline import watch_lifeline
from node.run import load_parts, run_node

CLOCK_FILE = "clock"
SIZE = 8


def set_clock(home: Path, offset_ms: int) -> None:
    """Step the wall clock of the node that runs on this home, now or later."""
    path = home / CLOCK_FILE
    if not path.exists():
        path.write_bytes(bytes(SIZE))
    with path.open("r+b") as file:
        file.write(offset_ms.to_bytes(SIZE, "big", signed=True))


class SteppedClock:
    """The machine's clocks, the wall clock off by what the file says."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._offset = mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ)

    def wall_ms(self) -> int:
        """Return milliseconds of the Unix epoch, as this machine has them."""
        return time.time_ns() // 1_000_000 + int.from_bytes(self._offset[:SIZE], "big", signed=True)

    def monotonic_ms(self) -> int:
        """Return milliseconds of a clock that never runs backwards."""
        return time.monotonic_ns() // 1_000_000


def main() -> None:
    """Run the node of the home named by the first argument."""
    path = Path(sys.argv[1])
    configure_log()
    watch_lifeline()
    home = Home.open(path)
    clock: Clock = SteppedClock(path / CLOCK_FILE)
    try:
        parts = load_parts(home, DevelopmentKey())
        asyncio.run(run_node(parts, Api, on_ready=spare_collections, clock=clock))
    except Exception as error:
        logging.getLogger(__name__).critical("node.stopped", exc_info=error)
        raise


if __name__ == "__main__":
    main()
