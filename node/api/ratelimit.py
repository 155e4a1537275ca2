"""A rate limit for each remote address: a bucket that refills with time.

Rule 1: the memory is bounded; the address that was quiet longest is forgotten first, which only ever lets
it start with a full bucket again.
"""

from collections import OrderedDict
from typing import Final

ADDRESSES_MAX: Final = 1_024


class RateLimit:
    """Allows `burst` requests at once from an address, and `per_second` in the long run."""

    def __init__(self, *, burst: int, per_second: int) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def allows(self, address: str, now_ms: int) -> bool:
        """Take one request of an address at a monotonic time in milliseconds; say whether it may pass."""
        left, since_ms = self._buckets.pop(address, (float(self._burst), now_ms))
        left = min(self._burst, left + (now_ms - since_ms) * self._per_second / 1000)
        is_allowed = left >= 1
        self._buckets[address] = (left - 1 if is_allowed else left, now_ms)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return is_allowed

    @property
    def addresses_count(self) -> int:
        """How many addresses are remembered."""
        return len(self._buckets)
