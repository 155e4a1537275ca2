"""How far a node is with catching up, as its sync tells it and its API shows it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """How far catching up is. `done` and `total` count blocks or chunks; the target is a claim."""

    phase: str
    height: int
    target_height: int
    done: int
    total: int
    peers: Sequence[str]
    stalled_ms: int
