"""Whom a node that catches up can ask: its peers, what they claim, and who is set aside.

Rule 1: a claim directs questions and decides nothing.
Rule 2: who stalls is set aside for a time and others are asked; who lies is disconnected for a time as well. Both are
named in the log. Nobody is set aside for good.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger(__name__)

ASIDE_MS: Final = 30_000
PAUSE_MS: Final = 500
ASKED_PER_PEER_MAX: Final = 2


@dataclass(slots=True)
class _Source:
    claimed_height: int = 0
    from_height: int = 0
    aside_until_ms: int = 0
    paused_until_ms: int = 0
    asked_count: int = 0
    turn: int = 0


class Sources:
    """The connected peers of a node, as sources."""

    def __init__(self, disconnect: Callable[[str, str], None]) -> None:
        self._disconnect = disconnect
        self._sources: dict[str, _Source] = {}
        self._turn = 0

    def add(self, peer: str) -> None:
        """Take note of a connection."""
        self._sources.setdefault(peer, _Source()).asked_count = 0

    def remove(self, peer: str) -> None:
        """Take note of a lost connection. Who was set aside stays so if it comes back."""
        source = self._sources.get(peer)
        if source is not None and source.aside_until_ms == 0:
            del self._sources[peer]
        elif source is not None:
            source.asked_count = ASKED_PER_PEER_MAX

    def peers(self, now_ms: int) -> list[str]:
        """Return who can be asked, in order of name."""
        return sorted(peer for peer, source in self._sources.items() if source.aside_until_ms <= now_ms)

    def pick_among(self, now_ms: int, peers: Collection[str]) -> str | None:
        """Return one of these with the least to answer, in turn; None where all are busy."""
        free = [each for each in self._free(now_ms) if each[2] in peers]
        return min(free)[2] if free else None

    def pick_for(self, now_ms: int, height: int, *, is_next: bool) -> str | None:
        """Return who claims to hold the block at a height, or for the next one whoever may; None where all are busy."""
        free = []
        for each in self._free(now_ms):
            source = self._sources[each[2]]
            if source.from_height <= height and (is_next or source.claimed_height >= height):
                free.append((source.claimed_height < height, *each))
        return min(free)[3] if free else None

    def _free(self, now_ms: int) -> list[tuple[int, int, str]]:
        return [
            (source.asked_count, source.turn, peer)
            for peer, source in self._sources.items()
            if max(source.aside_until_ms, source.paused_until_ms) <= now_ms
            and source.asked_count < ASKED_PER_PEER_MAX
        ]

    def note_asked(self, peer: str) -> None:
        """Take note of a question."""
        source = self._sources[peer]
        self._turn += 1
        source.asked_count += 1
        source.turn = self._turn

    def note_answered(self, peer: str) -> None:
        """Take note of an answer, or that none is awaited any more."""
        source = self._sources.get(peer)
        if source is not None and source.asked_count > 0:
            source.asked_count -= 1

    def note_claim(self, peer: str, *, tip_height: int, from_height: int = 0) -> None:
        """Take note of what a peer says that it holds."""
        source = self._sources.get(peer)
        if source is not None:
            source.claimed_height, source.from_height = tip_height, from_height

    def note_ahead(self, peer: str, height: int) -> None:
        """Take note that a peer seems to hold at least a height."""
        source = self._sources.get(peer)
        if source is not None:
            source.claimed_height = max(source.claimed_height, height)

    def highest_claim(self, now_ms: int) -> int:
        """Return the greatest height that anybody who can be asked claims."""
        claims = (each.claimed_height for each in self._sources.values() if each.aside_until_ms <= now_ms)
        return max(claims, default=0)

    def pause(self, peer: str, now_ms: int) -> None:
        """Ask a busy peer nothing for a moment."""
        source = self._sources.get(peer)
        if source is not None:
            source.paused_until_ms = now_ms + PAUSE_MS

    def stalled(self, peer: str, now_ms: int, what: str) -> None:
        """Set aside a peer that did not answer, and forget what it claims."""
        logger.warning("sync.stalled peer=%s what=%s", peer, what)
        self._set_aside(peer, now_ms)

    def lied(self, peer: str, now_ms: int, error: Exception) -> None:
        """Set aside and disconnect a peer whose answer breaks a rule or does not verify."""
        logger.warning("sync.lied peer=%s error=%s", peer, error)
        self._set_aside(peer, now_ms)
        self._disconnect(peer, f"sync: {error}"[:200])

    def _set_aside(self, peer: str, now_ms: int) -> None:
        source = self._sources.get(peer)
        if source is not None:
            source.aside_until_ms = now_ms + ASIDE_MS
            source.claimed_height = source.from_height = 0
