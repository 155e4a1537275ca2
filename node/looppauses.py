"""How long the event loop keeps its sleepers waiting.

One loop serves consensus and clients alike. Whatever holds it delays every message, and no single message shows that.
So a task sleeps for a known time, again and again, and looks how late it wakes.

Rule 1: a pause is seen where it covers a moment at which the task was due: every one of LOOK_EVERY_MS, of a shorter one
its share.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from node.clock import Clock
from node.measurements import Observe

LOOK_EVERY_MS: Final = 100


async def watch_pauses(
    clock: Clock, observe: Observe, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Tell again and again how many seconds late the loop woke this task, until it is cancelled."""
    while True:
        due_ms = clock.monotonic_ms() + LOOK_EVERY_MS
        await sleep(LOOK_EVERY_MS / 1000)
        observe(max(0, clock.monotonic_ms() - due_ms) / 1000)
