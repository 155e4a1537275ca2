"""The core log: what a node's core was told and what came of it, kept for a while (docs/core-log.md).

Rule 1: a segment begins with the core's whole state, so it needs no other one.
Rule 2: an event is on record before the core is told of it; what came of it, after.
Rule 3: the log is bounded: SEGMENTS_MAX segments, each a state and SEGMENT_SIZE_MAX bytes. Nothing is synced and
nothing waits for it. Where it cannot be written, the node goes on without.
Rule 4: a log is records (`node.replica.corenotes`, `node.consensus.image`). What is read makes these and nothing else,
a frame at a time, each of at most FRAME_SIZE_MAX bytes.
"""

import errno
import hashlib
import logging
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

import ledger.rules.certificates
import ledger.rules.leaders
import node.consensus.core
from ledger.errors import LedgerError
from node.clock import Clock
from node.consensus.core import Simplex
from node.consensus.effects import Effect
from node.consensus.events import Event
from node.consensus.image import take_image
from node.files.durablefile import POSIX_FILES
from node.files.reading import open_named, open_within
from node.replica.corenotes import NOTE_SIZE_MAX, Opening, encode_event, encode_note, outcome_of

logger = logging.getLogger(__name__)

MAGIC: Final = b"LUOHU-CORE-LOG\x02"
SEGMENT_SIZE_MAX: Final = 8 * 1024 * 1024
SEGMENTS_MAX: Final = 4
FRAME_SIZE_MAX: Final = NOTE_SIZE_MAX

_SEGMENT: Final = re.compile(r"segment-([0-9]{12})\.log", re.ASCII)
_HEAD: Final = struct.Struct(">II")
_OTHER_RELEASE: Final = (
    "Read it with the release that wrote it; this one writes segments of its own beside it."
)
_DAMAGED: Final = "Take the file again from where it was written. What stands before the damage was shown."


class CoreLogError(LedgerError):
    """A core log that cannot be replayed."""

    code = "core-log"


class CoreRecorder(Protocol):
    """What the driver tells of its core."""

    def begin(self, core: Simplex) -> None:
        """Take note of a core that was told nothing yet."""
        ...

    def happens(self, event: Event, now_ms: int) -> None:
        """Take note of an event before the core is told of it."""
        ...

    def decided(self, core: Simplex, effects: Sequence[Effect]) -> None:
        """Take note of what the core made of the last event."""
        ...

    def flush(self) -> None:
        """Hand what was noted to the operating system."""
        ...


class _NoCoreLog:
    """Keeps nothing."""

    def begin(self, core: Simplex) -> None:
        """Keep nothing."""

    def happens(self, event: Event, now_ms: int) -> None:
        """Keep nothing."""

    def decided(self, core: Simplex, effects: Sequence[Effect]) -> None:
        """Keep nothing."""

    def flush(self) -> None:
        """Keep nothing."""


NO_CORE_LOG: Final = _NoCoreLog()


class CoreLog:
    """The core log of a running node."""

    def __init__(
        self,
        directory: Path,
        *,
        chain_id: bytes,
        member: str,
        clock: Clock,
        segment_size_max: int = SEGMENT_SIZE_MAX,
    ) -> None:
        """Begin nothing yet. The directory is made when it is needed."""
        self._directory = directory
        self._chain_id = chain_id
        self._member = member
        self._clock = clock
        self._segment_size_max = segment_size_max
        self._file: FileIO | None = None
        self._pending = bytearray()
        self._size = 0

    def begin(self, core: Simplex) -> None:
        """Begin a segment with a core that is between two events."""
        self.close()
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            kept = find_segments(self._directory)
            for path in kept[: max(0, len(kept) - SEGMENTS_MAX + 1)]:
                POSIX_FILES.remove(path)
            number = 1 + (_number_of(kept[-1]) if kept else 0)
            path = self._directory / f"segment-{number:012}.log"
            self._file = FileIO(POSIX_FILES.create(path), "w")
            self._pending += MAGIC
            for frame in self._state_of(core):
                self._write(frame)
        except (OSError, LedgerError) as error:
            self._give_up(error)
        # A state may be large, where much is undecided: what follows it is counted alone.
        self._size = 0

    def _state_of(self, core: Simplex) -> Iterator[bytes]:
        yield encode_note(
            Opening(
                code=code_digest(),
                chain_id=self._chain_id,
                member=self._member,
                epoch=core.epoch,
                monotonic_ms=self._clock.monotonic_ms(),
                wall_ms=self._clock.wall_ms(),
            )
        )
        image, rounds = take_image(core)
        yield encode_note(image)
        yield from map(encode_note, rounds)

    def happens(self, event: Event, now_ms: int) -> None:
        """Take note of an event before the core is told of it."""
        if self._file is None:
            return
        try:
            self._write(encode_event(event, now_ms))
        except LedgerError as error:
            self._give_up(error)

    def decided(self, core: Simplex, effects: Sequence[Effect]) -> None:
        """Take note of what the core made of the last event; where the segment is full, begin the next."""
        if self._file is None:
            return
        try:
            self._write(encode_note(outcome_of(effects)))
        except LedgerError as error:
            self._give_up(error)
        if self._size >= self._segment_size_max:
            self.begin(core)

    def flush(self) -> None:
        """Hand what was noted to the operating system."""
        if self._file is None or not self._pending:
            return
        try:
            written = self._file.write(self._pending)
            if written != len(self._pending):
                raise OSError(errno.ENOSPC, f"{written} of {len(self._pending)} bytes were written")
        except OSError as error:
            self._give_up(error)
        self._pending.clear()

    def close(self) -> None:
        """End the segment."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, content: bytes) -> None:
        self._pending += _HEAD.pack(len(content), zlib.crc32(content)) + content
        self._size += _HEAD.size + len(content)

    def _give_up(self, error: OSError | LedgerError) -> None:
        logger.error("corelog.failed directory=%s error=%s: nothing is kept for now", self._directory, error)
        self._pending.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


def find_segments(directory: Path) -> list[Path]:
    """Return the segments in a directory, oldest first. Files of other names are none."""
    return sorted(path for path in directory.glob("*") if _SEGMENT.fullmatch(path.name))


def _number_of(segment: Path) -> int:
    return int(segment.name.removeprefix("segment-").removesuffix(".log"))


def read_frames(path: Path) -> Iterator[bytes]:
    """Yield the contents of a segment's frames; a last one that is cut is not there. Raises CoreLogError."""
    with open_within(path.parent, path.name) as file:
        _check_magic(path, file.read(len(MAGIC)))
        place = len(MAGIC)
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            size, checksum = _HEAD.unpack(head)
            where = f"{path}, byte {place}"
            if size > FRAME_SIZE_MAX:
                expected = f"at most {FRAME_SIZE_MAX} bytes"
                raise CoreLogError(where=where, expected=expected, found=f"{size}", cure=_DAMAGED)
            content = file.read(size)
            if len(content) < size:
                return
            if zlib.crc32(content) != checksum:
                raise CoreLogError(
                    where=where,
                    expected="a frame that fits its checksum",
                    found="one that does not",
                    cure=_DAMAGED,
                )
            place += _HEAD.size + size
            yield content


def _check_magic(path: Path, start: bytes) -> None:
    if start == MAGIC:
        return
    version = start[len(MAGIC) - 1 :]
    found = "something else, such as a core log of an earlier release"
    if start[:-1] == MAGIC[:-1] and version:
        found = f"version {version[0]}"
    elif MAGIC.startswith(start):
        found = "nothing" if not start else "the first bytes of one"
    expected = f"a core log of version {MAGIC[-1]}"
    raise CoreLogError(where=f"{path}", expected=expected, found=found, cure=_OTHER_RELEASE)


def other_code(where: str, code: bytes) -> CoreLogError:
    """Return the error of a log whose decisions other code made."""
    return CoreLogError(
        where=where,
        expected=f"decisions of this code, {code_digest().hex()[:16]}",
        found=f"of {code.hex()[:16]}",
        cure=_OTHER_RELEASE,
    )


@cache
def code_digest() -> bytes:
    """Return the SHA-256 of the code that decides."""
    digest = hashlib.sha256()
    consensus = Path(node.consensus.core.__file__).parent
    rules = (Path(ledger.rules.certificates.__file__), Path(ledger.rules.leaders.__file__))
    for path in (*sorted(consensus.glob("*.py")), *rules):
        with open_named(path) as file:
            digest.update(path.name.encode() + b"\0" + file.read())
    return digest.digest()
