"""Virtual time: whatever happens, happens through `Timeline.at`, in the order of time and then of planning."""

import heapq
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b

EVENTS_MAX = 2_000_000


class Timeline:
    """A heap of things to do, and the hash of all that was done."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.events_count = 0
        self.sometimes: Counter[str] = Counter()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._planned_count = 0
        self._trace = blake2b(digest_size=16)
        self.listener: Callable[[int, str], None] | None = None

    def at(self, time_ms: int, action: Callable[[], None]) -> None:
        """Plan an action."""
        assert time_ms >= self.now_ms, "nothing happens in the past"
        self._planned_count += 1
        heapq.heappush(self._heap, (time_ms, self._planned_count, action))

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Plan an action relative to now."""
        self.at(self.now_ms + delay_ms, action)

    def run_until(self, time_ms: int, is_done: Callable[[], bool] | None = None) -> bool:
        """Run to a time, or until something holds; tell whether it held."""
        heap = self._heap
        while heap and heap[0][0] <= time_ms:
            if is_done is not None and is_done():
                return True
            self.now_ms, _, action = heapq.heappop(heap)
            self.events_count += 1
            assert self.events_count < EVENTS_MAX, "a world that never comes to an end"
            action()
        self.now_ms = time_ms
        return is_done is None or is_done()

    def trace(self, line: str, data: bytes = b"") -> None:
        """Add to the hash that two runs of one schedule must share."""
        self._trace.update(f"{self.now_ms} {line} {len(data)}\n".encode())
        if data:
            self._trace.update(data)
        if self.listener is not None:
            self.listener(self.now_ms, line)

    def trace_hash(self) -> str:
        """Return the hash of all that happened."""
        return self._trace.hexdigest()
