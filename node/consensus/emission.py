"""The effects of one `handle`, in the making.

Rule 1: all records of one event form one `Persist`, which stands before every other effect, so nothing that
depends on a record can overtake it (docs/consensus.md, What a node remembers).
"""

from node.consensus.effects import Effect, Persist, Punish, Trace
from node.consensus.journal import JournalRecord


class Emission:
    """Collects records and effects until drained."""

    __slots__ = ("_effects", "_punished", "_records")

    def __init__(self) -> None:
        self._records: list[JournalRecord] = []
        self._effects: list[Effect] = []
        self._punished: set[tuple[int, str]] = set()

    def record(self, record: JournalRecord) -> None:
        """Make a record durable before any effect of this event."""
        self._records.append(record)

    def emit(self, effect: Effect) -> None:
        """Add an effect."""
        assert not isinstance(effect, Persist), "records go through record()"
        self._effects.append(effect)

    def trace(self, name: str, **fields: int | str) -> None:
        """Add a fact for logs and replay."""
        self._effects.append(Trace(name, tuple(fields.items())))

    def punish(self, peer: int | None, reason: str) -> None:
        """Punish a validator, once for each reason while it stays connected. Observers are the driver's."""
        if peer is not None and (peer, reason) not in self._punished:
            self._punished.add((peer, reason))
            self._effects.append(Punish(peer, reason))

    def forgive(self, peer: int) -> None:
        """Forget punishments of a peer that was disconnected."""
        self._punished = {(other, reason) for other, reason in self._punished if other != peer}

    def drain(self) -> list[Effect]:
        """Return what was collected, records first, and start anew."""
        first: list[Effect] = [Persist(tuple(self._records))] if self._records else []
        effects = first + self._effects
        self._records, self._effects = [], []
        return effects
