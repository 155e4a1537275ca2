"""BlockRequests to peers for what is missing here, each to one peer at a time.

Rule 1: a question is put once in ASK_AGAIN_MS, each time to another of the peers that may know. Where one of them is
sure to know, a leader what it proposed, that one is asked first.
Rule 2: at most QUESTIONS_MAX questions are remembered; those that may be put again go first.
"""

from collections.abc import Callable, Sequence, Set
from typing import Final

from node.clock import Clock
from node.messages import PeerMessage

ASK_AGAIN_MS: Final = 500
QUESTIONS_MAX: Final = 256


class BlockRequests:
    """What was asked of whom, and when it may be asked again."""

    def __init__(self, send: Callable[[str, PeerMessage], object], connected: Set[str], clock: Clock) -> None:
        self._send = send
        self._connected = connected
        self._clock = clock
        self._again_at_ms: dict[bytes, int] = {}
        self._asked_count = 0

    def ask(
        self, key: bytes, message: PeerMessage, peers: Sequence[str], *, first: str | None = None
    ) -> None:
        """Ask one connected peer of these, unless this key was asked about a moment ago."""
        now_ms = self._clock.monotonic_ms()
        connected = [peer for peer in peers if peer in self._connected]
        if now_ms < self._again_at_ms.get(key, 0) or not connected:
            return
        if len(self._again_at_ms) >= QUESTIONS_MAX:
            self._again_at_ms = {each: due for each, due in self._again_at_ms.items() if due > now_ms}
        is_new = key not in self._again_at_ms
        self._again_at_ms[key] = now_ms + ASK_AGAIN_MS
        if is_new and first is not None and first in self._connected:
            self._send(first, message)
            return
        self._asked_count += 1
        self._send(connected[self._asked_count % len(connected)], message)

    def is_asked(self, key: bytes) -> bool:
        """Say whether an answer about this key is expected."""
        return key in self._again_at_ms

    def answered(self, key: bytes) -> None:
        """Take note of an answer: the next question of this key need not wait."""
        self._again_at_ms.pop(key, None)
