"""The core's journal on disk: its records in the vote log, compacted as finality passes them.

Rule 1: records are on disk when `persist` returns; if they cannot be, the error stops the node.
Rule 2: the log is rewritten when it is large, and only with what the core itself says is still alive and with
what was found of later epochs: a node that lost its chain replays earlier ones first, and must not forget what it
promised since.
Rule 3: amnesia is over when the log's own header says so. A record that says it is, or until when it lasts, may
be older than the damage that the header tells of.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from node.consensus.core import Simplex
from node.consensus.effects import Persist
from node.consensus.journal import Amnesia, JournalRecord, decode_record, encode_record, epoch_of_record
from node.files.durablefile import POSIX_FILES, FileOperations
from node.storage.votelog import COMPACTION_SIZE, DamageKind, Recovery, VoteLog


class Journal(Protocol):
    """Where the core's records are made durable."""

    def persist(self, effect: Persist) -> None:
        """Return once the records are on disk. Raises OSError, after which the node must stop."""
        ...

    def finalized(self, core: Simplex) -> None:
        """Take note of finality: records below it may be dropped."""
        ...

    def amnesia_ended(self, core: Simplex) -> None:
        """Take note that this validator votes again."""
        ...

    def ahead_of(self, epoch: int) -> tuple[JournalRecord, ...]:
        """Return what the journal held of later epochs when it was opened."""
        ...

    def held_from(self, epoch: int) -> tuple[JournalRecord, ...]:
        """Return what binds an engine that begins in an epoch of which this process has written nothing."""
        ...

    def close(self) -> None:
        """Release what is open."""
        ...


class _NoJournal:
    """Who follows signs nothing and so remembers nothing: what it accepts, its store holds."""

    def persist(self, effect: Persist) -> None:
        """Keep nothing."""

    def finalized(self, core: Simplex) -> None:
        """Keep nothing."""

    def amnesia_ended(self, core: Simplex) -> None:
        """Keep nothing."""

    def ahead_of(self, epoch: int) -> tuple[JournalRecord, ...]:
        """Return nothing."""
        return ()

    def held_from(self, epoch: int) -> tuple[JournalRecord, ...]:
        """Return nothing."""
        return ()

    def close(self) -> None:
        """Close nothing."""


NO_JOURNAL: Final[Journal] = _NoJournal()


class VoteLogJournal:
    """A journal in the vote log of one validator."""

    def __init__(self, log: VoteLog, found: tuple[JournalRecord, ...]) -> None:
        self._log = log
        self._found = found
        self._is_amnesiac = False
        self._note_amnesia(found)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        chain_id: bytes,
        validator: str,
        epoch: int,
        has_voted: bool,
        files: FileOperations = POSIX_FILES,
        compaction_size: int = COMPACTION_SIZE,
    ) -> tuple["VoteLogJournal", tuple[JournalRecord, ...], Recovery]:
        """Open the journal; return its records and what was found. Raises VoteLogError or EncodingError.

        A damaged log adds an amnesia record: the validator observes until it is safe to vote.
        """
        log, recovery = VoteLog.open(
            path,
            chain_id=chain_id,
            validator=validator,
            expected_existing=has_voted,
            files=files,
            compaction_size=compaction_size,
        )
        records = tuple(decode_record(record) for record in recovery.records)
        told = next((each for each in reversed(records) if isinstance(each, Amnesia)), None)
        is_over = told is None or told.until_view == 0
        is_damaged_now = recovery.damage is not None and recovery.damage.kind is not DamageKind.UNRESOLVED
        if log.is_amnesiac and (is_over or is_damaged_now):
            records = (*records, Amnesia(epoch, None))
        elif told is not None and is_over:
            # The process ended between the record and the rewriting that follows it.
            records = tuple(each for each in records if not isinstance(each, Amnesia))
            log.end_amnesia([encode_record(record) for record in records])
        return cls(log, records), records, recovery

    def persist(self, effect: Persist) -> None:
        """Return once the records are on disk. Raises VoteLogError."""
        self._log.append([encode_record(record) for record in effect.records])
        self._note_amnesia(effect.records)

    def _note_amnesia(self, records: Sequence[JournalRecord]) -> None:
        for record in records:
            if isinstance(record, Amnesia):
                self._is_amnesiac = record.until_view != 0

    def finalized(self, core: Simplex) -> None:
        """Drop what finality has passed, now and then."""
        if self._log.is_due_for_compaction:
            self._log.compact(self._alive(core))

    def amnesia_ended(self, core: Simplex) -> None:
        """Take note that this validator votes again."""
        self._log.end_amnesia(self._alive(core))
        self._is_amnesiac = False

    def ahead_of(self, epoch: int) -> tuple[JournalRecord, ...]:
        """Return what the log held of later epochs when it was opened."""
        return tuple(record for record in self._found if epoch_of_record(record) > epoch)

    def held_from(self, epoch: int) -> tuple[JournalRecord, ...]:
        """Return what the log held from this epoch on when it was opened; an amnesia that lasts is asked anew."""
        records = tuple(
            record
            for record in self._found
            if epoch_of_record(record) >= epoch and not isinstance(record, Amnesia)
        )
        return (*records, Amnesia(epoch, None)) if self._is_amnesiac else records

    def _alive(self, core: Simplex) -> list[bytes]:
        records = (*core.journal_snapshot(), *self.ahead_of(core.epoch))
        return [encode_record(record) for record in records]

    def close(self) -> None:
        """Release the log."""
        self._log.close()
