"""Virtual time, randomness and the trace: everything that happens, happens through `World.at`."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from hashlib import sha256


class World:
    """A heap of things to do, ordered by time and then by the order in which they were planned."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ms = 1_000
        self.sometimes: Counter[str] = Counter()
        self.events_count = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._planned_count = 0
        self._trace = sha256()

    def at(self, time_ms: int, action: Callable[[], None]) -> None:
        """Plan an action."""
        assert time_ms >= self.now_ms, "nothing happens in the past"
        self._planned_count += 1
        heapq.heappush(self._heap, (time_ms, self._planned_count, action))

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Plan an action relative to now."""
        self.at(self.now_ms + delay_ms, action)

    def chance(self, permille: int) -> bool:
        """Throw a die."""
        return permille > 0 and self.random.randrange(1_000) < permille

    def run_until(self, time_ms: int, is_done: Callable[[], bool] | None = None) -> bool:
        """Run to a time, or until something holds; tell whether it held."""
        while self._heap and self._heap[0][0] <= time_ms:
            if is_done is not None and is_done():
                return True
            self.now_ms, _, action = heapq.heappop(self._heap)
            self.events_count += 1
            action()
        self.now_ms = time_ms
        return is_done is None or is_done()

    def trace(self, line: str) -> None:
        """Add a line to the hash that two runs of one seed must share."""
        self._trace.update(f"{self.now_ms} {line}\n".encode())

    def trace_hash(self) -> str:
        """Return the hash of all that happened."""
        return self._trace.hexdigest()
