"""The vote log: what this validator has promised, in an append-only file (docs/consensus.md, What a node remembers).

Rule 1: `append` returns only when its records are on the disk, each written twice; all of them or none
survive a crash. Votes leave the node after that.
Rule 2: after a failed write or sync the log takes nothing more; the node stops. Repeating the sync would
report success over pages that the kernel has already given up.
Rule 3: a torn last group was never sent; it is cut off on open. A damaged copy beside an intact one is
rewritten. All other damage, and a log that is missing where votes were cast, is amnesia: it is reported as
data, the damaged file is kept beside the log, and intact records are still returned.
Rule 4: amnesia is remembered in the log itself until `end_amnesia`: a restart must not make a node that
forgot its votes look like one that never voted.
Rule 5: compaction writes a new file, syncs it, renames it and syncs the directory. A crash at any step leaves
the old log or the new one.
Rule 6: one process uses a log, and only the validator and chain that it was made for.
"""

import enum
import errno
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ledger.encoding.digests import HASH_SIZE
from ledger.errors import EncodingError
from node.diskfaults import CURES
from node.errors import VoteLogError
from node.files.durablefile import POSIX_FILES, FileLocked, FileOperations, Lock, write_fresh
from node.storage.voteframes import (
    PAGE_SIZE,
    FrameError,
    LogHeader,
    decode_header,
    encode_group,
    encode_header,
    scan_groups,
    split_into_groups,
)

LOG_SIZE_MAX: Final = 256 * 1024 * 1024
COMPACTION_SIZE: Final = 8 * 1024 * 1024
KEPT_FILES_MAX: Final = 16

_CHECK: Final = "check the file, its owner and the disk"
_UNREADABLE_PAGE: Final = b"\xff" * PAGE_SIZE


class VoteLogLocked(VoteLogError):
    """Another process uses this log: two nodes with one home would vote against each other."""


class VoteLogForeign(VoteLogError):
    """The log belongs to another chain or validator."""


class VoteLogOfAnotherVersion(VoteLogError):
    """An intact log that another release wrote: its votes bind this validator, and cannot be read here."""


class VoteLogFull(VoteLogError):
    """The log has reached LOG_SIZE_MAX. It stays usable: compact it."""


class DamageKind(enum.Enum):
    """Why this validator may have forgotten votes."""

    MISSING = "missing"
    HEADER = "header"
    RECORDS = "records"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Damage:
    """Amnesia: what was expected and found, and where the damaged file is kept as evidence."""

    kind: DamageKind
    detail: str
    kept_at: Path | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `open` found. With `damage` the records are those that are intact: true, but perhaps not all."""

    records: tuple[bytes, ...]
    dropped_torn: bool
    repaired_copies_count: int
    damage: Damage | None


class VoteLog:
    """An open vote log. Not for use from two threads at once."""

    __slots__ = (
        "_compacted_size",
        "_compaction_size",
        "_descriptor",
        "_files",
        "_groups_count",
        "_header",
        "_lock",
        "_path",
        "_unusable",
        "size",
    )

    def __init__(
        self, files: FileOperations, path: Path, header: LogHeader, lock: Lock, compaction_size: int
    ) -> None:
        """Use `VoteLog.open`."""
        self._files = files
        self._path = path
        self._header = header
        self._lock = lock
        self._compaction_size = compaction_size
        self._descriptor: int | None = None
        self._groups_count = 0
        self._compacted_size = 0
        self._unusable: str | None = None
        self.size = 0

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        chain_id: bytes,
        validator: str,
        expected_existing: bool,
        files: FileOperations = POSIX_FILES,
        compaction_size: int = COMPACTION_SIZE,
    ) -> tuple["VoteLog", Recovery]:
        """Open the log of one validator, or create it, and say what it holds. Raises VoteLogError.

        `expected_existing` is what the chain store knows: true once this validator may have voted. A log that
        is missing then is damage, not a first start.
        """
        try:
            lock = files.lock(path.with_name(path.name + ".lock"))
        except FileLocked as error:
            raise VoteLogLocked(
                where=error.where, expected=error.expected, found=error.found, cure="stop the other process"
            ) from error
        except OSError as error:
            raise VoteLogError(
                where=f"{path}", expected="a lockable file", found=f"{error}", cure=_cure_of(error)
            ) from error
        log = cls(files, path, _fresh_header(chain_id, validator, amnesia=0), lock, compaction_size)
        try:
            recovery = log._recover(expected_existing)
        except VoteLogError:
            log.close()
            raise
        except OSError as error:
            log.close()
            raise VoteLogError(
                where=f"{path}", expected="a usable vote log", found=f"{error}", cure=_cure_of(error)
            ) from error
        except BaseException:
            log.close()
            raise
        return log, recovery

    @property
    def is_amnesiac(self) -> bool:
        """Whether votes may have been forgotten: observe, do not vote (docs/consensus.md, C18)."""
        return self._header.amnesia == 1

    @property
    def is_due_for_compaction(self) -> bool:
        """Whether the log is past its compaction size (bytes) and twice what the last compaction left."""
        return self.size >= max(self._compaction_size, 2 * self._compacted_size)

    def append(self, records: Sequence[bytes]) -> None:
        """Make all the records durable before returning, or raise VoteLogError.

        After VoteLogFull the log can still be compacted; records that no log could hold are refused with
        nothing written; any other failure ends this log's use.
        """
        descriptor = self._require_usable()
        if not records:
            return
        try:
            copy = encode_group(self._header.file_id, self._groups_count, records)
        except EncodingError as error:
            raise self._beyond(error) from error
        if self.size + 2 * len(copy) > LOG_SIZE_MAX:
            raise self._full("no room")
        try:
            self._files.write_at(descriptor, copy + copy, self.size)
            self._files.sync(descriptor)
        except OSError as error:
            raise self._give_up("append", error) from error
        self.size += 2 * len(copy)
        self._groups_count += 1

    def compact(self, live_records: Sequence[bytes]) -> None:
        """Replace the content by `live_records`, durably, old or new at any crash. Raises VoteLogError.

        The caller vouches that what it leaves out can never be contradicted (it is below the durable floor).
        """
        self._require_usable()
        self._rewrite(live_records, amnesia=self._header.amnesia)

    def end_amnesia(self, live_records: Sequence[bytes]) -> None:
        """Compact and record that it is safe to vote again (docs/consensus.md, C18). Raises VoteLogError."""
        self._require_usable()
        self._rewrite(live_records, amnesia=0)

    def close(self) -> None:
        """Release the file and its lock. Everything appended is durable already."""
        if self._descriptor is not None:
            self._files.close(self._descriptor)
            self._descriptor = None
        self._lock.release()

    def _recover(self, expected_existing: bool) -> Recovery:
        if not self._files.exists(self._path):
            return self._start_fresh(expected_existing)
        self._descriptor = self._files.open(self._path)
        self.size = self._files.size(self._descriptor)
        if self.size > LOG_SIZE_MAX:
            detail = f"expected at most {LOG_SIZE_MAX} bytes, found {self.size}"
            return self._recover_damaged((), DamageKind.RECORDS, detail)
        data = self._read_pages(self._descriptor)
        try:
            found = decode_header(data)
        except FrameError as error:
            raise VoteLogOfAnotherVersion(
                where=f"{self._path}",
                expected=error.expected,
                found=error.found,
                cure="use the release that wrote it; nothing is damaged, and its votes bind this validator",
            ) from error
        if found is None:
            return self._recover_damaged(
                (), DamageKind.HEADER, "expected an intact header, found neither copy"
            )
        header, header_copies_count = found
        self._check_ours(header)
        self._header = header
        return self._recover_groups(data, 2 - header_copies_count)

    def _read_pages(self, descriptor: int) -> bytes:
        return b"".join(self._read_page(descriptor, start) for start in range(0, self.size, PAGE_SIZE))

    def _read_page(self, descriptor: int, start: int) -> bytes:
        try:
            return self._files.read_at(descriptor, PAGE_SIZE, start)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # A page that the disk cannot read is damage. Never zeros: those would look like an unwritten page.
            return _UNREADABLE_PAGE

    def _start_fresh(self, expected_existing: bool) -> Recovery:
        self._rewrite((), amnesia=int(expected_existing))
        if not expected_existing:
            return Recovery((), dropped_torn=False, repaired_copies_count=0, damage=None)
        detail = "expected the log of a validator that has voted, found no file"
        return Recovery((), False, 0, Damage(DamageKind.MISSING, detail, None))

    def _recover_groups(self, data: bytes, damaged_headers_count: int) -> Recovery:
        scan = scan_groups(self._header.file_id, data)
        if scan.problem is not None:
            return self._recover_damaged(scan.records, DamageKind.RECORDS, scan.problem)
        self._groups_count = scan.groups_count
        repaired = damaged_headers_count + scan.damaged_copies_count
        if repaired:
            self._rewrite(scan.records, amnesia=self._header.amnesia)
        elif scan.torn:
            self._cut_off(scan.end)
        damage: Damage | None = None
        if self.is_amnesiac:
            detail = "expected a log without gaps, found one that has replaced a damaged or missing log"
            damage = Damage(DamageKind.UNRESOLVED, detail, None)
        return Recovery(scan.records, scan.torn, repaired, damage)

    def _recover_damaged(self, intact: tuple[bytes, ...], kind: DamageKind, detail: str) -> Recovery:
        # The evidence gets its second name first: from here to the rename the damaged file is still the log.
        kept_at = self._keep_aside()
        self._rewrite(intact, amnesia=1)
        return Recovery(intact, False, 0, Damage(kind, detail, kept_at))

    def _keep_aside(self) -> Path:
        for number in range(1, KEPT_FILES_MAX + 1):
            kept = self._path.with_name(f"{self._path.name}.damaged-{number}")
            if self._files.exists(kept):
                if self._files.is_same(kept, self._path):
                    return kept
                continue
            self._files.link(self._path, kept)
            self._files.sync_directory(self._path.parent)
            return kept
        raise VoteLogError(
            where=f"{self._path}",
            expected="room for evidence",
            found=f"{KEPT_FILES_MAX} damaged logs",
            cure=f"replace the disk, or move {self._path.name}.damaged-* elsewhere",
        )

    def _cut_off(self, end: int) -> None:
        descriptor = self._require_usable()
        self._files.truncate(descriptor, end)
        self._files.sync(descriptor)
        self.size = end

    def _rewrite(self, records: Sequence[bytes], *, amnesia: int) -> None:
        header = replace(self._header, file_id=secrets.token_bytes(HASH_SIZE), amnesia=amnesia)
        content = [encode_header(header)]
        try:
            for sequence, group in enumerate(split_into_groups(records)):
                content.append(encode_group(header.file_id, sequence, group) * 2)
        except EncodingError as error:
            raise self._beyond(error) from error
        joined = b"".join(content)
        if len(joined) > LOG_SIZE_MAX:
            raise self._full(f"{len(joined)} live")
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            write_fresh(self._files, fresh, joined)
            self._files.rename(fresh, self._path)
            self._files.sync_directory(self._path.parent)
            descriptor = self._files.open(self._path)
        except OSError as error:
            raise self._give_up("compaction", error) from error
        if self._descriptor is not None:
            self._files.close(self._descriptor)
        self._descriptor = descriptor
        self._header = header
        self._groups_count = len(content) - 1
        self.size = self._compacted_size = len(joined)

    def _check_ours(self, header: LogHeader) -> None:
        expected = (self._header.chain_id.hex(), self._header.validator)
        found = (header.chain_id.hex(), header.validator)
        if found != expected:
            raise VoteLogForeign(
                where=f"{self._path}",
                expected=f"the votes of {expected[1]} on chain {expected[0]}",
                found=f"those of {found[1]} on chain {found[0]}",
                cure="put back the log of this home; if it is lost: luohu node repair --home HOME",
            )

    def _require_usable(self) -> int:
        if self._unusable is not None:
            raise VoteLogError(
                where=f"{self._path}",
                expected="a usable log",
                found=f"that {self._unusable}",
                cure="restart the node",
            )
        if self._descriptor is None:
            raise VoteLogError(
                where=f"{self._path}", expected="an open log", found="it closed", cure="restart the node"
            )
        return self._descriptor

    def _give_up(self, step: str, error: OSError) -> VoteLogError:
        self._unusable = f"its {step} failed earlier ({error})"
        return VoteLogError(
            where=f"{self._path}",
            expected=f"a durable {step}",
            found=f"{error}",
            cure=f"the node must stop. {_cure_of(error)}",
        )

    def _full(self, found: str) -> VoteLogFull:
        expected = f"at most {LOG_SIZE_MAX} bytes"
        return VoteLogFull(where=f"{self._path}", expected=expected, found=found, cure="compact it")

    def _beyond(self, error: EncodingError) -> VoteLogError:
        return VoteLogError(
            where=f"{self._path}: {error.where}",
            expected=error.expected,
            found=error.found,
            cure="report it: no node asks for more",
        )


def _cure_of(error: OSError) -> str:
    return CURES.get(error.errno or 0, _CHECK)


def _fresh_header(chain_id: bytes, validator: str, *, amnesia: int) -> LogHeader:
    return LogHeader(chain_id, validator, secrets.token_bytes(HASH_SIZE), amnesia)
