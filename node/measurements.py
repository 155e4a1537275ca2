"""What a node measures of itself, as those see it who do the work.

Rule 1: a part tells how many seconds something took. It does not know who counts that, nor whether anybody does.
Rule 2: it tells so once for a block, a turn or a span of blocks, never for a signature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Observe = Callable[[float], None]


def _ignore(_seconds: float) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Measurements:
    """Who is told how many seconds each thing took; by default nobody.

    The node's clock counts milliseconds: what is shorter is told as 0 or as 0.001, and is right on average.
    """

    finality: Observe = _ignore
    """From the admission of a transaction here to its finality here. The one that is told for each transaction."""
    block_building: Observe = _ignore
    """Building a block and writing it down, as its leader."""
    block_execution: Observe = _ignore
    """Executing a block of another leader and writing it down, with the signatures that were not checked before."""
    client_signatures: Observe = _ignore
    """Checking one turn of transactions that clients submitted."""
    peer_signatures: Observe = _ignore
    """Checking one turn of transactions that peers sent."""
    sync_span: Observe = _ignore
    """Making one span of fetched blocks final, from the check of its certificate on."""
    sync_snapshot: Observe = _ignore
    """Catching up by a snapshot, from the question for offers to the switch."""
    loop_pause: Observe = _ignore
    """How much later than it was due the event loop woke a sleeper."""


NOT_MEASURED: Final = Measurements()
