"""Answers about the ledger: what is proven, and what a node tells (docs/proven-and-told.md).

Rule 1: `Proven` and `Told` are two types, so that a type checker finds whoever takes the one for the other. Only
`node.client.ledgerclient` makes a `Proven` of a node's answer.
Rule 2: nothing that cannot be undone takes a `Told`.
"""

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T", covariant=True)


@dataclass(frozen=True, slots=True)
class Proven(Generic[T]):
    """What one final state says under one key, proven under the caller's trusted root.

    `value` is None where that state holds nothing there. `key` is the 32-byte state key; `height`, `time_ms`
    (milliseconds of the Unix epoch) and `block_hash` are those of the header. A lasting fact holds for good, a passing
    one held then.
    """

    value: T
    key: bytes
    height: int
    time_ms: int
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """What the node at a URL says of one key. It may be a lie."""

    value: T
    key: bytes
    url: str


Answer: TypeAlias = Proven[T] | Told[T]


@dataclass(frozen=True, slots=True)
class Recorded(Generic[T]):
    """What an act left on the ledger, and the heights at which nodes said that this call recorded it.

    The heights are told. Whoever asks whether it is new compares them with the height that `shown` has of the act.
    """

    shown: Answer[T]
    heights: frozenset[int]

    def is_new(self, height: int) -> bool:
        """Say whether this call brought it about, and not an earlier one: `height` is the recorded one of the act."""
        return height in self.heights
