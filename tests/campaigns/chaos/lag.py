"""How much time the machine withheld: what a loop that asked to be woken was woken late.

The bounds of a run are the network's, on a machine that runs it. Where other work holds the processors, a run adds what
this measured meanwhile to a bound, and no more; the figures say how much that was.
"""

import asyncio
import time

STEP_S = 0.02
USUAL_S = 0.005


class Lag:
    """Runs beside a run, in its loop."""

    def __init__(self) -> None:
        self.late_s = 0.0
        """How late in all, since the start."""

    async def measure(self) -> None:
        """Measure until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(STEP_S)
            self.late_s += max(0.0, time.monotonic() - began - STEP_S - USUAL_S)
