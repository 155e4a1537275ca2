"""Clocks: the only place where the node reads time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time, in milliseconds."""

    def wall_ms(self) -> int:
        """Return milliseconds of the Unix epoch."""
        ...

    def monotonic_ms(self) -> int:
        """Return milliseconds of a clock that never runs backwards."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        """Return milliseconds of the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return milliseconds of a clock that never runs backwards."""
        return time.monotonic_ns() // 1_000_000
