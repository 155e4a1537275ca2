"""Ports for tests that run nodes, of which no two tests of a run are given the same at once."""

import os
import random
import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"
PORT_MIN, PORT_END = 10_000, 32_000
"""Below the ports that systems give to connections, so that none of these takes one before a node listens."""


def take_ports(count: int) -> tuple[int, ...]:
    """Return ports in a row that nobody listens on, out of those of this process of the tests."""
    first, end = _share_of_process()
    source = random.SystemRandom()
    while True:
        start = source.randrange(first, end - count)
        ports = tuple(range(start, start + count))
        with ExitStack() as held:
            try:
                for port in ports:
                    held.enter_context(socket.socket()).bind((LOOPBACK, port))
            except OSError:
                continue
            return ports


def _share_of_process() -> tuple[int, int]:
    """Return the first and the end of the ports that belong to this process alone."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (PORT_END - PORT_MIN) // count
    # A worker that replaces a crashed one has a higher number than there are workers.
    first = PORT_MIN + size * (number % count)
    return first, first + size
