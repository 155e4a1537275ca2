"""Whom a node that catches up can ask: its peers, what they claim, and who is set aside.

Rule 1: a claim directs questions and decides nothing.
Rule 2: who stalls is set aside for a time and others are asked; who lies is disconnected for a time as well. Both are
named in the log. Nobody is set aside for good.
Rule 3: who stalled is asked again soon where nobody else can be asked: links fail and come back, and a node that waits
for one holder must not wait out a time that was meant for a choice between several. It is waited for shortly then; what
it gives later counts all the same.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger(__name__)

ASIDE_MS: Final = 30_000
RECALL_MS: Final = 2_000
"""After how long aside a peer that stalled is asked again where nobody else can be."""
RECALL_REPLY_MS: Final = 2_000
PAUSE_MS: Final = 500
ASKED_PER_PEER_MAX: Final = 2


@dataclass(slots=True)
class _Source:
    is_here: bool = True
    claimed_height: int = 0
    from_height: int = 0
    known_height: int = 0
    """What it claimed last, whether it is asked or not."""
    aside_until_ms: int = 0
    recalled_from_ms: int | None = None
    """From when on it is asked where nobody else can be; None where it lied."""
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
        source = self._sources.setdefault(peer, _Source())
        source.is_here, source.asked_count = True, 0

    def remove(self, peer: str) -> None:
        """Take note of a lost connection. Who was set aside stays so if it comes back."""
        source = self._sources.get(peer)
        if source is not None and source.aside_until_ms == 0:
            del self._sources[peer]
        elif source is not None:
            source.is_here = False

    def peers(self, now_ms: int) -> list[str]:
        """Return who can be asked, in order of name."""
        return sorted(self._usable(now_ms, self._sources))

    def pick_among(self, now_ms: int, peers: Collection[str]) -> str | None:
        """Return one of these with the least to answer, in turn; None where all are busy."""
        free = self._free(now_ms, self._usable(now_ms, peers))
        return min(free)[2] if free else None

    def can_be_asked(self, now_ms: int, peers: Collection[str]) -> bool:
        """Say whether any of these peers is asked now or can be, the busy ones included."""
        return bool(self._usable(now_ms, peers))

    def pick_for(self, now_ms: int, height: int, *, is_next: bool) -> str | None:
        """Return who claims to hold the block at a height, or for the next one whoever may; None where all are busy."""
        here = [peer for peer, source in self._sources.items() if source.from_height <= height]
        claimants = [peer for peer in here if self._sources[peer].claimed_height >= height]
        candidates = set(self._usable(now_ms, claimants))
        if is_next:
            candidates.update(self._present(now_ms, here), () if candidates else self._recalled(now_ms, here))
        free = [
            (self._sources[each[2]].claimed_height < height, *each) for each in self._free(now_ms, candidates)
        ]
        return min(free)[3] if free else None

    def _usable(self, now_ms: int, peers: Collection[str]) -> list[str]:
        """Return those of these peers that are not aside, or where all are, those that may be asked again (rule 3)."""
        return self._present(now_ms, peers) or self._recalled(now_ms, peers)

    def _present(self, now_ms: int, peers: Iterable[str]) -> list[str]:
        found = ((peer, self._sources.get(peer)) for peer in peers)
        return [
            peer
            for peer, source in found
            if source is not None and source.is_here and source.aside_until_ms <= now_ms
        ]

    def _recalled(self, now_ms: int, peers: Iterable[str]) -> list[str]:
        return [
            peer
            for peer in peers
            if (source := self._sources.get(peer)) is not None
            and source.is_here
            and source.aside_until_ms > now_ms
            and source.recalled_from_ms is not None
            and source.recalled_from_ms <= now_ms
        ]

    def _free(self, now_ms: int, peers: Iterable[str]) -> list[tuple[int, int, str]]:
        return [
            (source.asked_count, source.turn, peer)
            for peer, source in ((peer, self._sources[peer]) for peer in peers)
            if source.paused_until_ms <= now_ms and source.asked_count < ASKED_PER_PEER_MAX
        ]

    def note_asked(self, peer: str, now_ms: int, reply_ms: int) -> int:
        """Take note of a question; return when its answer is due."""
        source = self._sources[peer]
        self._turn += 1
        source.asked_count += 1
        source.turn = self._turn
        is_recalled = source.aside_until_ms > now_ms
        return now_ms + (min(reply_ms, RECALL_REPLY_MS) if is_recalled else reply_ms)

    def note_answered(self, peer: str) -> None:
        """Take note of an answer, or that none is awaited any more."""
        source = self._sources.get(peer)
        if source is not None and source.asked_count > 0:
            source.asked_count -= 1

    def note_given(self, peer: str) -> None:
        """Take note that a peer gave what it was asked for: it is aside no more."""
        source = self._sources.get(peer)
        if source is not None and source.recalled_from_ms is not None:
            source.aside_until_ms = 0

    def note_claim(self, peer: str, *, tip_height: int, from_height: int = 0) -> None:
        """Take note of what a peer says that it holds."""
        source = self._sources.get(peer)
        if source is not None:
            source.claimed_height, source.from_height = tip_height, from_height
            source.known_height = tip_height

    def note_ahead(self, peer: str, height: int) -> None:
        """Take note that a peer seems to hold at least a height."""
        source = self._sources.get(peer)
        if source is not None:
            source.claimed_height = max(source.claimed_height, height)
            source.known_height = max(source.known_height, height)

    def highest_claim(self, now_ms: int) -> int:
        """Return the greatest height that anybody who can be asked claims."""
        highest = 0
        for each in self._sources.values():
            if each.claimed_height > highest and each.aside_until_ms <= now_ms:
                highest = each.claimed_height
        return highest

    def known_height(self, faulty_max: int) -> int:
        """Return the greatest height that f + 1 peers claimed last, who is aside included; of fewer, the least."""
        claims = sorted(
            (each.known_height for each in self._sources.values() if each.known_height), reverse=True
        )
        return claims[min(faulty_max, len(claims) - 1)] if claims else 0

    def pause(self, peer: str, now_ms: int) -> None:
        """Ask a busy peer nothing for a moment."""
        source = self._sources.get(peer)
        if source is not None:
            source.paused_until_ms = now_ms + PAUSE_MS

    def stalled(self, peer: str, now_ms: int, what: str) -> None:
        """Set aside a peer that did not answer, and forget what it claims."""
        logger.warning("sync.stalled peer=%s what=%s", peer, what)
        self._set_aside(peer, now_ms, recalled_from_ms=now_ms + RECALL_MS)

    def lied(self, peer: str, now_ms: int, error: Exception) -> None:
        """Set aside and disconnect a peer whose answer breaks a rule or does not verify."""
        logger.warning("sync.lied peer=%s error=%s", peer, error)
        self._set_aside(peer, now_ms, recalled_from_ms=None)
        source = self._sources.get(peer)
        if source is not None:
            source.known_height = 0
        self._disconnect(peer, f"sync: {error}"[:200])

    def _set_aside(self, peer: str, now_ms: int, *, recalled_from_ms: int | None) -> None:
        source = self._sources.get(peer)
        if source is not None:
            source.aside_until_ms, source.recalled_from_ms = now_ms + ASIDE_MS, recalled_from_ms
            source.claimed_height = source.from_height = 0
