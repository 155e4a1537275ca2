"""What happens to the core. The driver hands each event over with the time, in milliseconds of one
monotonic clock, and performs the effects that come back, in order, before the next."""

from dataclasses import dataclass
from typing import TypeAlias

from node.consensus.messages import Message


@dataclass(frozen=True, slots=True)
class Started:
    """First of all events, once."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived from a validator (its index), or from an observer (None)."""

    peer: int | None
    message: Message


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The deadline passed. Early, late and needless ones are harmless."""


@dataclass(frozen=True, slots=True)
class Built:
    """The answer to `Build`: a block that is durable here, or None if none can be built."""

    view: int
    block_hash: bytes | None


@dataclass(frozen=True, slots=True)
class Verified:
    """The answer to `Verify`: the block applies to its parent and its bytes are durable; or it does not."""

    view: int
    block_hash: bytes
    is_valid: bool


@dataclass(frozen=True, slots=True)
class Certified:
    """The answer to `Certify`: executed and recoverable after a crash; or executed with another result.
    Missing data is no answer."""

    view: int
    block_hash: bytes
    is_valid: bool


@dataclass(frozen=True, slots=True)
class WorkChanged:
    """There is, or is no longer, something for a block on this node's tip to do. May be repeated."""

    has_work: bool


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A connection to this validator is up."""

    peer: int


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The connection to this validator is gone."""

    peer: int


@dataclass(frozen=True, slots=True)
class BlockAvailable:
    """This block's bytes are here: it need not be requested any more."""

    block_hash: bytes


Event: TypeAlias = (
    Started
    | Received
    | TimerFired
    | Built
    | Verified
    | Certified
    | WorkChanged
    | PeerUp
    | PeerDown
    | BlockAvailable
)
