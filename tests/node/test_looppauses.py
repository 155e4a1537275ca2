"""Pauses of the event loop, in virtual time: each is told as long as it delayed the sleeper."""

import asyncio
from collections.abc import Sequence

import pytest

from node.looppauses import LOOK_EVERY_MS, watch_pauses


class Loop:
    """A clock, and a sleep that wakes later than it should by one delay after the other; then all is over."""

    def __init__(self, delays_ms: Sequence[int]) -> None:
        self.now_ms = 0
        self.delays_ms = list(delays_ms)

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep(self, seconds: float) -> None:
        if not self.delays_ms:
            raise asyncio.CancelledError
        assert seconds == LOOK_EVERY_MS / 1000
        self.now_ms += LOOK_EVERY_MS + self.delays_ms.pop(0)


def watch(loop: Loop) -> list[float]:
    told: list[float] = []
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch_pauses(loop, told.append, sleep=loop.sleep))
    return told


def test_each_pause_is_told_as_long_as_it_was() -> None:
    assert watch(Loop([0, 250, 0, 7])) == [0.0, 0.25, 0.0, 0.007]


def test_who_wakes_early_was_not_kept_waiting() -> None:
    assert watch(Loop([-1, 3])) == [0.0, 0.003]
