"""The core log: what a node's core was told and what came of it, kept for a while (docs/core-log.md).

Rule 1: a segment begins with the core's whole state, so it needs no other one.
Rule 2: an event is on record before the core is told of it; what came of it, after.
Rule 3: the log is bounded: SEGMENTS_MAX segments, each a state and SEGMENT_SIZE_MAX bytes. Nothing is synced and
nothing waits for it. Where it cannot be written, the node goes on without.
Rule 4: what is read makes objects of the core's own classes, and calls nothing else.
"""

import errno
import hashlib
import io
import logging
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

import ledger.encoding.keys
import ledger.rules.certificates
import ledger.rules.leaders
import node.consensus.core
from ledger.errors import LedgerError
from ledger.rules.certificates import QuorumCertificate, Subject, Vote
from node.clock import Clock
from node.consensus.core import Simplex
from node.consensus.effects import Effect, Persist
from node.consensus.events import Event
from node.consensus.journal import VoteCast

logger = logging.getLogger(__name__)

VERSION: Final = 1
SEGMENT_SIZE_MAX: Final = 8 * 1024 * 1024
SEGMENTS_MAX: Final = 4
FRAME_SIZE_MAX: Final = 64 * 1024 * 1024

_SEGMENTS: Final = "segment-*.log"
_HEAD: Final = struct.Struct(">II")
_PROTOCOL: Final = 5
_LEDGER_MODULES: Final = frozenset((ledger.rules.certificates.__name__, ledger.encoding.keys.__name__))
_CONSENSUS: Final = "node.consensus."
_SIGN: Final = "sign"
_VERIFY: Final = "verify"


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
                path.unlink()
            number = 1 + (int(kept[-1].stem.partition("-")[2]) if kept else 0)
            path = self._directory / f"segment-{number:012}.log"
            self._file = path.open("xb", buffering=0)
            path.chmod(0o600)
        except OSError as error:
            self._give_up(error)
        opening = (
            VERSION,
            code_digest(),
            self._chain_id,
            self._member,
            core.epoch,
            self._clock.monotonic_ms(),
            self._clock.wall_ms(),
        )
        self._write(pickle.dumps(opening, _PROTOCOL))
        self._write(freeze(core))
        # A state may be large, where much is undecided: what follows it is counted alone.
        self._size = 0

    def happens(self, event: Event, now_ms: int) -> None:
        """Take note of an event before the core is told of it."""
        self._write(pickle.dumps((now_ms, event), _PROTOCOL))

    def decided(self, core: Simplex, effects: Sequence[Effect]) -> None:
        """Take note of what the core made of the last event; where the segment is full, begin the next."""
        self._write(pickle.dumps(outcome_of(effects), _PROTOCOL))
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
        if self._file is None:
            return
        self._pending += _HEAD.pack(len(content), zlib.crc32(content)) + content
        self._size += _HEAD.size + len(content)

    def _give_up(self, error: OSError) -> None:
        logger.error("corelog.failed directory=%s error=%s: nothing is kept for now", self._directory, error)
        if self._file is not None:
            self._file.close()
            self._file = None


def outcome_of(effects: Sequence[Effect]) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """Return the names of effects, in order, and the signatures of the own votes among them."""
    names = tuple(type(effect).__name__ for effect in effects)
    persisted = (record for effect in effects if isinstance(effect, Persist) for record in effect.records)
    return names, tuple(record.vote.signature for record in persisted if isinstance(record, VoteCast))


def find_segments(directory: Path) -> list[Path]:
    """Return the segments in a directory, oldest first."""
    return sorted(directory.glob(_SEGMENTS))


def read_frames(path: Path) -> Iterator[bytes]:
    """Yield the contents of a segment's frames; a last one that is cut is not there. Raises CoreLogError."""
    place = 0
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            size, checksum = _HEAD.unpack(head)
            if size > FRAME_SIZE_MAX:
                raise CoreLogError(
                    where=f"{path}, byte {place}", expected=f"at most {FRAME_SIZE_MAX} bytes", found=f"{size}"
                )
            content = file.read(size)
            if len(content) < size:
                return
            if zlib.crc32(content) != checksum:
                raise CoreLogError(
                    where=f"{path}, byte {place}",
                    expected="a frame that fits its checksum",
                    found="one that does not",
                )
            place += _HEAD.size + size
            yield content


@cache
def code_digest() -> bytes:
    """Return the SHA-256 of the code that decides."""
    digest = hashlib.sha256()
    consensus = Path(node.consensus.core.__file__).parent
    rules = (Path(ledger.rules.certificates.__file__), Path(ledger.rules.leaders.__file__))
    for path in (*sorted(consensus.glob("*.py")), *rules):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


def freeze(core: Simplex) -> bytes:
    """Return a core's state between two events, without what it signs and verifies with."""
    stream = io.BytesIO()
    _Freezer(stream, core).dump(core)
    return stream.getvalue()


def thaw(
    content: bytes,
    sign: Callable[[Subject], bytes],
    verify: Callable[[Vote | QuorumCertificate], bool],
) -> Simplex:
    """Return the core of a frozen state, which signs and verifies as given. Raises CoreLogError."""
    core = thaw_any(content, {_SIGN: sign, _VERIFY: verify})
    if not isinstance(core, Simplex):
        raise CoreLogError(where="state", expected="a core", found=type(core).__name__)
    return core


def thaw_any(content: bytes, given: "dict[str, Callable[..., object]] | None" = None) -> object:
    """Return what was frozen: numbers, text, bytes, collections and the core's own objects. Raises CoreLogError."""
    try:
        return _Thawer(io.BytesIO(content), given or {}).load()
    except CoreLogError:
        raise
    except Exception as error:
        # Whatever a damaged pickle makes of its reader.
        raise CoreLogError(
            where="content", expected="objects of the core", found=f"{type(error).__name__}: {error}"
        ) from error


class _Freezer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, core: Simplex) -> None:
        super().__init__(stream, _PROTOCOL)
        self._core = core

    def persistent_id(self, obj: object) -> str | None:
        if obj is None:
            return None
        if obj is self._core.sign:
            return _SIGN
        return _VERIFY if obj is self._core.verify else None


class _Thawer(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, given: "dict[str, Callable[..., object]]") -> None:
        super().__init__(stream)
        self._given = given

    def persistent_load(self, pid: str) -> object:
        return self._given[pid]

    def find_class(self, module: str, name: str) -> object:
        if module in _LEDGER_MODULES or module.startswith(_CONSENSUS):
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise CoreLogError(
            where="content", expected="one of the core's own classes", found=f"{module}.{name}"
        )
