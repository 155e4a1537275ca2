"""A disk with two images: what was written, and what survives a crash.

Rule 1: only `sync` moves records from one to the other; a crash loses the rest.
Rule 2: records are stored as bytes, so every restart decodes what was encoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.consensus.journal import JournalRecord, decode_record, encode_record
from tests.campaigns.simulation.core.chain import Block, Committed


@dataclass(slots=True)
class Disk:
    """The vote log and the chain store of one node."""

    synced: list[bytes] = field(default_factory=list)
    unsynced: list[bytes] = field(default_factory=list)
    blocks: dict[bytes, Block] = field(default_factory=dict)
    chain: list[Committed] = field(default_factory=list)
    synced_set: set[bytes] = field(default_factory=set)

    def write(self, records: Sequence[JournalRecord]) -> None:
        """Write without syncing."""
        self.unsynced.extend(encode_record(record) for record in records)

    def sync(self) -> None:
        """Make everything written survive."""
        self.synced.extend(self.unsynced)
        self.synced_set.update(self.unsynced)
        self.unsynced = []

    def crash(self) -> None:
        """Lose what was not synced."""
        self.unsynced = []

    def replace_log(self, records: Sequence[JournalRecord]) -> None:
        """Compact: a new log takes the place of the old one."""
        assert not self.unsynced, "compaction happens between appends"
        self.synced = [encode_record(record) for record in records]

    def forget_last(self, count: int) -> None:
        """Restore an older log, as a backup would."""
        del self.synced[len(self.synced) - count :]

    def journal(self) -> list[JournalRecord]:
        """Read the log."""
        return [decode_record(data) for data in self.synced]
