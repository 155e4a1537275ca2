"""Every bound and every time of the peer transport, in one place.

One link must carry a largest message within `send_stall_s`: 8 MiB in 20 s, about 3.4 Mbit/s.
"""

from dataclasses import dataclass

MESSAGE_SIZE_MAX = 8 * 1024 * 1024
"""The largest message, in bytes. The smallest has one."""

INBOX_COUNT_MAX = 1024
INBOX_SIZE_MAX = 2 * MESSAGE_SIZE_MAX
"""What one peer may have waiting for our consumer."""

OUTBOX_COUNT_MAX = 4096
OUTBOX_SIZE_MAX = 4 * MESSAGE_SIZE_MAX
"""What may wait to be sent to one peer. A broadcast is one object in memory, in however many outboxes."""

PENDING_COUNT_MAX = 128
"""Accepted connections that have shown no pinned certificate yet."""
PENDING_PER_CERTIFICATE_MAX = 4
"""Connections that showed the same pinned certificate, and said no hello yet."""
PENDING_SPARED_S = 0.25
"""How long an accepted connection is safe from newcomers, which wait in the system's queue until then."""

CONTROL_FRAMES_PER_WINDOW_MAX = 32
"""Pings and pongs that a peer may send in one window; ours come every `ping_interval_s`."""
CONNECTS_PER_WINDOW_MAX = 32
"""Connections that one peer may establish in one window."""
WINDOW_S = 10.0

READ_BURST_MAX = 32
"""Messages of one peer read before the others get their turn on the event loop."""

REFUSAL_S_MAX = 3600.0
"""The longest refusal of a peer. None is for good: only governance removes a node."""
OFFENCE_REFUSAL_S = 10.0
"""How long a peer that breaks the transport's own rules is refused."""

LISTEN_BACKLOG = 512
ACCEPT_RETRY_S = 0.5
"""The pause after a failed accept (no file descriptors left)."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds; a test shortens them, a slow network may lengthen them."""

    handshake_s: float = 5.0
    """TLS handshake of an accepted connection, from the first byte to the last."""
    hello_s: float = 5.0
    """From the end of the handshake to an accepted hello."""
    dial_s: float = 10.0
    """One attempt to connect, name lookup to hello."""
    tie_s: float = 1.0
    """When both sides dial at once: how long the smaller node id awaits its own attempt."""
    close_s: float = 1.0
    """Waiting for the other side's close frame."""
    ping_interval_s: float = 5.0
    dead_after_s: float = 20.0
    """Silence, in spite of pings, after which a connection is given up."""
    send_stall_s: float = 20.0
    """One message that the other side does not take."""
    backoff_first_s: float = 0.1
    backoff_max_s: float = 5.0
    stable_after_s: float = 1.0
    """How long a connection must last to count as success, which resets the backoff."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"timing: expected {name} above 0, found {getattr(self, name)}")
