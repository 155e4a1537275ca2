"""A document and its proof in one plain ZIP file (docs/verifying.md, One file for both).

Rule 1: which of the two is the proof is told by its content; names are never used for anything.
Rule 2: the archive has one reading: two entries that fill it from its first byte to its directory, each header
written twice and equal, and nothing else: no paths, links, comments, encryption, ZIP64, descriptors or gaps.
Rule 3: what an entry may grow to is known before it is unpacked, and held to. The document is unpacked as it is read.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

from ledger.documents import require_archive
from ledger.proofs import PROOF_MAGIC, PROOF_SIZE_MAX
from ledger.verdicts import STEP_FILES, Refusal, Sentence, VerificationError

ARCHIVE_MAGIC: Final = b"PK\x03\x04"
ENTRIES_COUNT: Final = 2
NAME_SIZE_MAX: Final = 255
EXTRA_SIZE_MAX: Final = 1_024
# A document that shrinks more than this is sent as it is. What deflate can do at most is 1,032.
RATIO_MAX: Final = 200
RATIO_SLACK: Final = 64 * 1024
READ_SIZE: Final = 256 * 1024

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_CENTRAL_MAGIC: Final = b"PK\x01\x02"
_END_MAGIC: Final = b"PK\x05\x06"
_STORED: Final = 0
_DEFLATED: Final = 8
_VERSION_MAX: Final = 20
_UTF8: Final = 1 << 11
# Of the flags: how deflate tried, and that the name is UTF-8.
_FLAGS: Final = 0b110 | _UTF8
_ZIP64: Final = 0xFFFFFFFF
_MODE_SHIFT: Final = 16
_MODE_KIND: Final = 0o170000
_MODE_FILE: Final = 0o100000
_DOS_FOLDER: Final = 0x10
# Extra fields that only say when and whose a file was: UT, ux, NTFS.
_EXTRAS: Final = frozenset({0x5455, 0x7875, 0x000A})

_PROOF_START: Final = PROOF_MAGIC[:-1]

_REFUSALS: Final[dict[str, Refusal]] = {
    "pair-malformed": Refusal(
        STEP_FILES,
        Sentence(
            "The ZIP file is not a plain one with a document and its proof.",
            "该 ZIP 文件并非仅含一份文件及其证明的普通压缩包。",
            "該 ZIP 檔案並非僅含一份文件及其證明的普通壓縮檔。",
        ),
        Sentence(
            "Ask the holder for the two files as they are.",
            "请持有人直接提供这两个文件。",
            "請持有人直接提供這兩個檔案。",
        ),
    ),
}


class BundleError(VerificationError):
    """An archive that is not exactly a document and its proof."""

    @staticmethod
    def _refusals() -> dict[str, Refusal]:
        return _REFUSALS


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    flags: int
    method: int
    checksum: int
    packed_size: int
    size: int
    start: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened archive: the proof's content, and the document, which is read from the file as it is iterated."""

    proof: bytes
    _file: BinaryIO
    _document: _Entry

    def document(self) -> Iterator[bytes]:
        """Yield the document in pieces. Raises BundleError where it is not what the archive says of it."""
        return _unpack(self._file, self._document)


def is_proof(start: bytes) -> bool:
    """Say whether a file is a proof, by its first bytes."""
    return start.startswith(_PROOF_START)


def is_archive(start: bytes) -> bool:
    """Say whether a file is a ZIP archive, by its first bytes."""
    return start.startswith(ARCHIVE_MAGIC)


def open_bundle(file: BinaryIO) -> Bundle:
    """Open an archive with a document and its proof. `file` can be sought in. Raises BundleError, or WrongCall."""
    require_archive(file)
    entries = _read_entries(file)
    proofs = [is_proof(_first_bytes(file, entry)) for entry in entries]
    if sum(proofs) != 1:
        found = "two" if all(proofs) else "none"
        _refuse("archive", "one proof and one document", f"{found} that begin as a proof does")
    proof_entry, document = entries if proofs[0] else reversed(entries)
    if proof_entry.size > len(PROOF_MAGIC) + PROOF_SIZE_MAX:
        _refuse("proof", f"at most {len(PROOF_MAGIC) + PROOF_SIZE_MAX} bytes", f"{proof_entry.size}")
    return Bundle(b"".join(_unpack(file, proof_entry)), file, document)


def _read_entries(file: BinaryIO) -> tuple[_Entry, _Entry]:
    size = file.seek(0, 2)
    if size < _END.size:
        _refuse("archive", "a ZIP file", f"{size} bytes")
    end = _read(file, size - _END.size, _END.size)
    magic, *numbers, directory_size, directory_start, comment_size = _END.unpack(end)
    if magic != _END_MAGIC or comment_size:
        _refuse("archive", "its end record at the very end", "other bytes")
    if numbers != [0, 0, ENTRIES_COUNT, ENTRIES_COUNT]:
        _refuse("archive", f"one part with {ENTRIES_COUNT} entries", f"{numbers}")
    if directory_start + directory_size != size - _END.size:
        _refuse("archive", "its directory right before its end record", "a gap")
    directory_max = ENTRIES_COUNT * (_CENTRAL.size + NAME_SIZE_MAX + EXTRA_SIZE_MAX)
    if directory_size > directory_max:
        _refuse("directory", f"at most {directory_max} bytes", f"{directory_size}")
    directory = _read(file, directory_start, directory_size)
    place, starts = 0, []
    for _ in range(ENTRIES_COUNT):
        entry, place = _parse_central(directory, place)
        starts.append(entry)
    if place != len(directory):
        _refuse("directory", "two entries and nothing more", f"{len(directory) - place} bytes more")
    first, second = sorted(starts, key=lambda entry: entry.start)
    _check_names(first, second)
    place = 0
    entries = []
    for entry in (first, second):
        if entry.start != place:
            _refuse("entry", f"its header at {place}", f"at {entry.start}")
        data_start = _check_local(file, entry)
        entries.append(_at(entry, data_start))
        place = data_start + entry.packed_size
    if place != directory_start:
        _refuse("archive", "its directory right after the entries", "a gap or an overlap")
    return entries[0], entries[1]


def _parse_central(directory: bytes, place: int) -> tuple[_Entry, int]:
    if len(directory) - place < _CENTRAL.size:
        _refuse("directory", "two entries", "fewer bytes")
    (
        magic,
        made_by,
        version,
        flags,
        method,
        _time,
        _date,
        checksum,
        packed_size,
        size,
        name_size,
        extra_size,
        comment_size,
        disk,
        _internal,
        external,
        start,
    ) = _CENTRAL.unpack_from(directory, place)
    if magic != _CENTRAL_MAGIC:
        _refuse("directory", "an entry", "other bytes")
    place += _CENTRAL.size
    name = directory[place : place + name_size]
    extra = directory[place + name_size : place + name_size + extra_size]
    if len(name) + len(extra) != name_size + extra_size or comment_size or disk:
        _refuse("directory", "a name, and no comment", "something else")
    entry = _Entry(name, flags, method, checksum, packed_size, size, start)
    _check_entry(entry, version, made_by, external)
    _check_extra(extra)
    return entry, place + name_size + extra_size


def _check_entry(entry: _Entry, version: int, made_by: int, external: int) -> None:
    if version > _VERSION_MAX or entry.flags & ~_FLAGS or entry.method not in (_STORED, _DEFLATED):
        found = f"version {version}, flags {entry.flags:#x}, method {entry.method}"
        _refuse("entry", "stored or deflated, without encryption or descriptor", found)
    if _ZIP64 in (entry.packed_size, entry.size, entry.start):
        _refuse("entry", "sizes of 32 bits", "ZIP64")
    if entry.method == _STORED and entry.packed_size != entry.size:
        _refuse("stored entry", f"{entry.size} bytes", f"{entry.packed_size}")
    if entry.size > RATIO_MAX * entry.packed_size + RATIO_SLACK:
        _refuse(
            "entry", f"at most {RATIO_MAX} times its packed size", f"{entry.size} from {entry.packed_size}"
        )
    kind = external >> _MODE_SHIFT & _MODE_KIND
    if external & _DOS_FOLDER or (made_by >> 8 == 3 and kind not in (0, _MODE_FILE)):
        _refuse("entry", "a regular file", f"attributes {external:#x}")


def _check_names(first: _Entry, second: _Entry) -> None:
    for entry in (first, second):
        name = entry.name
        if not 1 <= len(name) <= NAME_SIZE_MAX or b"/" in name or b"\0" in name or name in (b".", b".."):
            _refuse("entry name", f"1 to {NAME_SIZE_MAX} bytes, no path", ascii(name)[:80])
        # Without the flag it is in a code page of some machine, where this byte may be half a character.
        if b"\\" in name and (entry.flags & _UTF8 or name.isascii()):
            _refuse("entry name", "no path", ascii(name)[:80])
    if first.name.lower() == second.name.lower():
        _refuse("entry names", "two", ascii(first.name)[:80])


def _check_extra(extra: bytes) -> None:
    if len(extra) > EXTRA_SIZE_MAX:
        _refuse("extra fields", f"at most {EXTRA_SIZE_MAX} bytes", f"{len(extra)}")
    place = 0
    while place < len(extra):
        if len(extra) - place < 4:
            _refuse("extra fields", "whole ones", "a piece")
        kind, size = struct.unpack_from("<HH", extra, place)
        if kind not in _EXTRAS or len(extra) - place - 4 < size:
            _refuse("extra fields", "times and owners only", f"{kind:#06x} of {size} bytes")
        place += 4 + size


def _check_local(file: BinaryIO, entry: _Entry) -> int:
    """Check that an entry's own header says what the directory says; return where its content starts."""
    header = _read(file, entry.start, _LOCAL.size)
    magic, version, flags, method, _time, _date, *sizes, name_size, extra_size = _LOCAL.unpack(header)
    named = _read(file, entry.start + _LOCAL.size, name_size + extra_size)
    found = (magic, flags, method, *sizes, named[:name_size])
    expected = (
        ARCHIVE_MAGIC,
        entry.flags,
        entry.method,
        entry.checksum,
        entry.packed_size,
        entry.size,
        entry.name,
    )
    if found != expected or version > _VERSION_MAX:
        _refuse("entry header", "what the directory says", "something else")
    _check_extra(named[name_size:])
    return entry.start + _LOCAL.size + len(named)


def _at(entry: _Entry, start: int) -> _Entry:
    return _Entry(entry.name, entry.flags, entry.method, entry.checksum, entry.packed_size, entry.size, start)


def _first_bytes(file: BinaryIO, entry: _Entry) -> bytes:
    packed = _read(file, entry.start, min(entry.packed_size, 4_096))
    if entry.method == _STORED:
        return packed
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, len(_PROOF_START))
    except zlib.error as error:
        _refuse("entry", "deflated bytes", f"{error}"[:80])


def _unpack(file: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    """Yield an entry's content. Raises BundleError where size or checksum are others."""
    pieces = _stored(file, entry) if entry.method == _STORED else _inflated(file, entry)
    size, checksum = 0, 0
    for piece in pieces:
        size, checksum = size + len(piece), zlib.crc32(piece, checksum)
        if size > entry.size:
            break
        yield piece
    if (size, checksum) != (entry.size, entry.checksum):
        _refuse("entry", f"{entry.size} bytes with checksum {entry.checksum:08x}", "others")


def _stored(file: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    place, end = entry.start, entry.start + entry.packed_size
    while place < end:
        piece = _read(file, place, min(READ_SIZE, end - place))
        yield piece
        place += len(piece)


def _inflated(file: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _stored(file, entry):
            if unpacker.eof:
                _refuse("entry", "deflated bytes that end where it does", "more")
            left = packed
            while left and not unpacker.eof:
                piece = unpacker.decompress(left, READ_SIZE)
                left = unpacker.unconsumed_tail
                if piece:
                    yield piece
        while not unpacker.eof and (piece := unpacker.decompress(unpacker.unconsumed_tail, READ_SIZE)):
            yield piece
    except zlib.error as error:
        _refuse("entry", "deflated bytes", f"{error}"[:80])
    if not unpacker.eof or unpacker.unused_data:
        _refuse("entry", "deflated bytes that end where it does", "fewer or more")


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        _refuse("archive", f"{size} bytes at {start}", f"{len(data)}")
    return data


def _refuse(where: str, expected: str, found: str) -> NoReturn:
    raise BundleError(code="pair-malformed", where=where, expected=expected, found=found)
