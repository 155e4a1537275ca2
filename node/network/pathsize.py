"""How large the packets to one peer may be, where its path swallows large ones.

What operators see of it: docs/operators.md, Links that swallow large packets.

Some paths carry small packets and drop large ones, and the message that would say so (ICMP, fragmentation needed) is
blocked. A connection comes about, short messages pass, and the first long one stands still for ever.

Rule 1: the sign is a probe, a ping behind long messages, that is unanswered when the peer gives up for silence, though
the peer was heard to the end. What it says arrives, what it is told does not.
Rule 2: after a sign the next connection has small segments in both directions, whoever dials: what the dialler sets
holds for both, and so does what the listener sets. A peer that dialled before the listener was set is turned away.
Rule 3: the path is said to swallow large packets once long messages pass in small segments. A path that was down in one
direction looks alike: after the first sign usual segments are tried again soon, and what passes in them clears it.
Rule 4: a second sign is believed for USUAL_AGAIN_S. Then the next connection has usual segments again: networks are
mended, and nobody tells.
Rule 5: a handshake has long messages as well, and a path may carry nothing at all once a long one stands still. After a
dial that nobody answered, or a connection that fell silent behind long messages, every other dial has small segments.
That is no sign.
"""

import socket
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import Final

from aiohttp import AddrInfoType

SMALL_SEGMENT_SIZE: Final = 1_000
"""Bytes of TCP in one packet: they pass where packets of 1,072 bytes do. IPv6 promises 1,280."""
LARGE_SIZE: Final = 1_400
"""From so many bytes on, what is sent fills a packet of usual size, or nearly."""
TURNED_AWAY_MAX: Final = 3
"""How often after one sign: where the system limits nothing, a large connection is better than none."""
TRY_AGAIN_S: Final = 60.0
USUAL_AGAIN_S: Final = 1_800.0


class PathSize:
    """What is known of the packets that one peer's path carries. `now` is a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._signs_count = 0
        self._small_until = 0.0
        self._unanswered_count = 0
        self._was_tried = False
        self._turned_away_count = 0
        self.is_swallowing = False
        """Whether what passes in small segments did not pass in usual ones."""

    @property
    def is_small(self) -> bool:
        """Whether the next connection has small segments."""
        return self._now() < self._small_until

    @property
    def is_next_dial_small(self) -> bool:
        """Whether the next dial asks for small segments (rule 5)."""
        return self.is_small or self._unanswered_count % 2 == 1

    @property
    def is_trial_due(self) -> bool:
        """Whether a connection with small segments is to end, so that usual ones are tried again (rule 3)."""
        return self._signs_count == 1 and not self.is_small and not self._was_tried

    def begin_trial(self) -> None:
        """Take note that a connection ends for a trial: once, whatever the next one turns out to have."""
        self._was_tried = True

    def note_stuck(self, *, is_small: bool) -> None:
        """Take note of a sign, on a connection with small segments or with usual ones."""
        if is_small:
            # It is not the size: the path is down in one direction, or the peer takes nothing.
            self.forget()
            return
        self._signs_count += 1
        self._turned_away_count = 0
        self._small_until = self._now() + (TRY_AGAIN_S if self._signs_count == 1 else USUAL_AGAIN_S)

    def turns_away(self, *, is_small: bool) -> bool:
        """Say whether a connection that a peer dialled is turned away, since it has usual segments (rule 2)."""
        if is_small or not self.is_small or self._turned_away_count == TURNED_AWAY_MAX:
            return False
        self._turned_away_count += 1
        return True

    def note_passed(self, *, is_small: bool) -> None:
        """Take note that long messages passed on a connection."""
        self._unanswered_count = 0
        if not is_small:
            self.forget()
        elif self._signs_count:
            self.is_swallowing = True

    def note_unanswered(self) -> None:
        """Take note of a dial that nobody answered in time, or of a connection that fell silent."""
        self._unanswered_count += 1

    def forget(self) -> None:
        """Take the path for a usual one."""
        self._signs_count, self._small_until, self._unanswered_count = 0, 0.0, 0
        self._was_tried = self.is_swallowing = False


def limit_segments(tcp: socket.socket, size: int) -> None:
    """Let connections that this socket makes, or accepts from now on, have segments of at most `size` bytes.

    0 takes the limit away. Where the system has no such option, nothing changes.
    """
    if hasattr(socket, "TCP_MAXSEG"):
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, size)


def make_small_socket(address: AddrInfoType) -> socket.socket:
    """Return a socket to connect to an address with small segments."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    limit_segments(made, SMALL_SEGMENT_SIZE)
    return made


def has_small_segments(tcp: TransportSocket | None) -> bool:
    """Say whether a connection has segments of at most SMALL_SEGMENT_SIZE bytes. One that has ended has none."""
    if tcp is None or not hasattr(socket, "TCP_MAXSEG"):
        return False
    try:
        return 0 < tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= SMALL_SEGMENT_SIZE
    except OSError:
        return False
