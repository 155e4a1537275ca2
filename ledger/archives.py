"""ZIP files of which every byte is accounted for (docs/formats.md, Bundle).

Rule 1: an archive has one reading. Its entries fill it from the first byte to its directory, in the directory's
order; headers are written twice and agree, a descriptor says it a third time; nothing stands between or behind.
Rule 2: a field holds what the tools write that people here use, and nothing else. What may differ, times and owners
above all, has a fixed width. Anything else is refused by what it is.
Rule 3: what an entry may grow to is known before it is unpacked, and held to. Content is unpacked as it is read.
Rule 4: a name outside ASCII is UTF-8 that says so, or was written on Unix, where it is UTF-8 without saying so. No
other code page is guessed at.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

from ledger.filenames import NAME_SIZE_MAX
from ledger.verdicts import STEP_FILES, Refusal, Sentence, VerificationError

ENTRIES_COUNT_MAX: Final = 16
# All extra fields that are taken, in one header.
EXTRA_SIZE_MAX: Final = 88
# A document that shrinks more than this is sent as it is. What deflate can do at most is 1,032.
RATIO_MAX: Final = 200
RATIO_SLACK: Final = 64 * 1024
# What deflate may need beyond what it packs: an eighth where nothing repeats, and the ends of its blocks.
DEFLATE_SLACK: Final = 64
READ_SIZE: Final = 256 * 1024

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_DESCRIPTOR: Final = struct.Struct("<4s3L")
_END: Final = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC: Final = b"PK\x03\x04"
_CENTRAL_MAGIC: Final = b"PK\x01\x02"
_DESCRIPTOR_MAGIC: Final = b"PK\x07\x08"
_END_MAGIC: Final = b"PK\x05\x06"

_STORED: Final = 0
_DEFLATED: Final = 8
_NOTHING_DEFLATED: Final = b"\x03\x00"
_VERSIONS: Final = (10, 20)
# Who made it: FAT, Unix, two of Windows, macOS; by a version of the format between 1.0 and 6.3.
_UNIX: Final = (3, 19)
_SYSTEMS: Final = (0, 10, 11, *_UNIX)
_MADE_BY_MIN: Final = 10
_MADE_BY_MAX: Final = 63
# Of the flags: how deflate tried, that a descriptor follows, that the name is UTF-8.
_TRIED: Final = 0b110
_DESCRIBED: Final = 1 << 3
_UTF8: Final = 1 << 11
_FLAGS: Final = _TRIED | _DESCRIBED | _UTF8
_WIDE: Final = 0xFFFFFFFF

# Attributes: read only, archive, normal, not indexed, what macOS and 7-Zip add; of a folder also that it is one.
_DOS_FILE: Final = 0x01 | 0x20 | 0x80 | 0x2000 | 0x4000 | 0x8000
_DOS_FOLDER: Final = 0x10
_MODE_SHIFT: Final = 16
_MODE_FILE: Final = 0o100000
_MODE_FOLDER: Final = 0o040000
_MODE_ACCESS: Final = 0o777

_TIMES: Final = 0x5455
_OWNERS: Final = 0x7875
_OLD_UNIX: Final = 0x5855
_NTFS: Final = 0x000A
_JAR: Final = 0xCAFE
_OWNERS_SIZE: Final = 11
_OLD_UNIX_TIMES_SIZE: Final = 8
_NTFS_SIZE: Final = 32
_NTFS_START: Final = struct.pack("<L2H", 0, 1, 24)
# In units of 100 ns since 1601: from 1970 to the end of 2107.
_NTFS_TIMES: Final = range(116444736000000000, 159992928000000000)
_EXTRAS: Final = frozenset({_TIMES, _OWNERS, _OLD_UNIX, _NTFS, _JAR})
# Those that are met, and what to call them.
_OTHER_EXTRAS: Final = {
    0x0001: "ZIP64",
    0x6375: "a comment in Unicode, as JSZip writes it",
    0x7075: "a second name in Unicode, as WinRAR and JSZip write it",
    0x9901: "encryption by WinZip or 7-Zip",
    0xD935: "padding of an Android package",
}

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
class Entry:
    """One file or folder in an archive: its path as written, the size of its content, and where that stands."""

    path: str
    is_folder: bool
    size: int
    checksum: int
    method: int
    packed_size: int
    start: int


@dataclass(frozen=True, slots=True)
class _Header:
    """What the directory says of an entry, as far as its local header must say the same."""

    name: bytes
    version: int
    flags: int
    method: int
    time: int
    date: int
    checksum: int
    packed_size: int
    size: int
    extra: bytes
    start: int


def read_entries(file: BinaryIO) -> tuple[Entry, ...]:
    """Return the entries of an archive, in its order, two of no path. Raises BundleError.

    `file` can be sought in. Content is checked as it is unpacked.
    """
    size = file.seek(0, 2)
    if size < _END.size:
        refuse("archive", "a ZIP file", f"{size} bytes")
    end = _read(file, size - _END.size, _END.size)
    magic, disk, directory_disk, here, count, directory_size, directory_start, comment = _END.unpack(end)
    if magic != _END_MAGIC or comment:
        refuse("archive", "a ZIP file that ends with its end record", "other bytes")
    if (disk, directory_disk) != (0, 0) or here != count or not 1 <= count <= ENTRIES_COUNT_MAX:
        refuse("archive", f"one part with 1 to {ENTRIES_COUNT_MAX} entries", f"{count} entries")
    if directory_start + directory_size != size - _END.size:
        refuse("archive", "its directory right before its end record", "a gap")
    directory_max = count * (_CENTRAL.size + NAME_SIZE_MAX + EXTRA_SIZE_MAX)
    if directory_size > directory_max:
        refuse("directory", f"at most {directory_max} bytes", f"{directory_size}")
    directory = _read(file, directory_start, directory_size)
    entries: list[Entry] = []
    at, place = 0, 0
    for index in range(count):
        header, path, at = _parse_central(directory, at)
        entry = _find_content(file, header, path, place, is_first=index == 0)
        entries.append(entry)
        place = entry.start + entry.packed_size + _check_descriptor(file, header, entry)
    if at != len(directory):
        refuse("directory", f"{count} entries and nothing more", f"{len(directory) - at} bytes more")
    if place != directory_start:
        refuse("archive", "its directory right after the entries", "a gap or an overlap")
    if len({entry.path for entry in entries}) != count:
        refuse("entry names", "each once", "one twice")
    return tuple(entries)


def first_bytes(file: BinaryIO, entry: Entry, size: int) -> bytes:
    """Return how an entry's content begins, `size` bytes at most. Raises BundleError."""
    packed = _read(file, entry.start, min(entry.packed_size, 4_096))
    if entry.method == _STORED:
        return packed[:size]
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size)
    except zlib.error as error:
        refuse("entry", "deflated bytes", f"{error}"[:80])


def unpack(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Yield an entry's content. Raises BundleError where it is not what the headers say of it."""
    pieces = _stored(file, entry) if entry.method == _STORED else _inflated(file, entry)
    size, checksum = 0, 0
    for piece in pieces:
        size, checksum = size + len(piece), zlib.crc32(piece, checksum)
        if size > entry.size:
            break
        yield piece
    if (size, checksum) != (entry.size, entry.checksum):
        refuse("entry", f"{entry.size} bytes with checksum {entry.checksum:08x}", "others")


def refuse(where: str, expected: str, found: str) -> NoReturn:
    """Refuse an archive."""
    raise BundleError(code="pair-malformed", where=where, expected=expected, found=found)


# -- headers ---------------------------------------------------------------------------------------------


def _parse_central(directory: bytes, at: int) -> tuple[_Header, str, int]:
    if len(directory) - at < _CENTRAL.size:
        refuse("directory", "an entry", "fewer bytes")
    (
        magic,
        made_by,
        version,
        flags,
        method,
        time,
        date,
        checksum,
        packed_size,
        size,
        name_size,
        extra_size,
        comment_size,
        disk,
        internal,
        external,
        start,
    ) = _CENTRAL.unpack_from(directory, at)
    if magic != _CENTRAL_MAGIC:
        refuse("directory", "an entry", "other bytes")
    at += _CENTRAL.size
    name, extra = directory[at : at + name_size], directory[at + name_size : at + name_size + extra_size]
    if len(name) + len(extra) != name_size + extra_size or comment_size or disk:
        refuse("directory", "a name, and no comment", "something else")
    header = _Header(name, version, flags, method, time, date, checksum, packed_size, size, extra, start)
    system, made_by_version = made_by >> 8, made_by & 0xFF
    if system not in _SYSTEMS or not _MADE_BY_MIN <= made_by_version <= _MADE_BY_MAX:
        refuse("entry", "one made on Windows, macOS or Unix", f"made by {made_by:#06x}")
    path = _decode_name(name, flags, system)
    _check_header(header)
    _check_attributes(header, internal, external)
    return header, path, at + name_size + extra_size


def _decode_name(name: bytes, flags: int, system: int) -> str:
    if not 1 <= len(name) <= NAME_SIZE_MAX:
        refuse("entry name", f"1 to {NAME_SIZE_MAX} bytes", f"{len(name)}")
    if not name.isascii() and not flags & _UTF8 and system not in _UNIX:
        expected = "a name in UTF-8; give the files names of Latin letters and digits, and pack them again"
        refuse("entry name", expected, f"a name in a code page of Windows, {ascii(name)[:80]}")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        refuse("entry name", "a name in UTF-8", ascii(name)[:80])


def _check_header(header: _Header) -> None:
    if header.flags & 1:
        refuse("entry", "no encryption", "an entry with a password")
    if header.version not in _VERSIONS or header.flags & ~_FLAGS or header.method not in (_STORED, _DEFLATED):
        found = f"version {header.version}, flags {header.flags:#x}, method {header.method}"
        refuse("entry", "stored or deflated, as ZIP 2.0 has it", found)
    if header.method == _STORED and header.flags & (_TRIED | _DESCRIBED):
        # What reads an archive as it comes cannot tell where such an entry ends.
        refuse("entry", "a stored entry whose header says its size", f"flags {header.flags:#x}")
    if _WIDE in (header.packed_size, header.size, header.start):
        refuse("entry", "sizes of 32 bits", "ZIP64")
    if not _is_time(header.time, header.date):
        refuse("entry", "a time that there is", f"{header.date:#06x} {header.time:#06x}")
    packed_max = header.size if header.method == _STORED else header.size + header.size // 8 + DEFLATE_SLACK
    if header.packed_size > packed_max or (header.method == _STORED and header.packed_size != header.size):
        refuse("entry", f"at most {packed_max} packed bytes for {header.size}", f"{header.packed_size}")
    if header.size > RATIO_MAX * header.packed_size + RATIO_SLACK:
        found = f"{header.size} from {header.packed_size}"
        refuse("entry", f"at most {RATIO_MAX} times its packed size", found)


def _is_time(time: int, date: int) -> bool:
    """Say whether a time of MS-DOS is one, or none at all."""
    if time == date == 0:
        return True
    day, month = date & 31, date >> 5 & 15
    return time >> 11 < 24 and time >> 5 & 63 < 60 and time & 31 < 30 and 1 <= month <= 12 and day >= 1


def _check_attributes(header: _Header, internal: int, external: int) -> None:
    is_folder = header.name.endswith(b"/")
    mode, dos = external >> _MODE_SHIFT, external & 0xFFFF
    kinds = (0, _MODE_FOLDER if is_folder else _MODE_FILE)
    dos_known = _DOS_FILE | _DOS_FOLDER if is_folder else _DOS_FILE
    if internal > 1 or dos & ~dos_known or mode & ~_MODE_ACCESS not in kinds:
        kind = "a folder" if is_folder else "a regular file"
        refuse("entry", f"{kind} that is neither hidden nor special", f"attributes {internal}, {external:#x}")
    if is_folder and (header.size, header.checksum) != (0, 0):
        refuse("folder", "nothing in its entry", f"{header.size} bytes")


def _find_content(file: BinaryIO, header: _Header, path: str, place: int, *, is_first: bool) -> Entry:
    """Check that an entry's own header stands at `place` and says what the directory says."""
    if header.start != place:
        refuse("entry", f"its header at {place}", f"at {header.start}")
    magic, *same, checksum, packed_size, size, name_size, extra_size = _LOCAL.unpack(
        _read(file, place, _LOCAL.size)
    )
    if magic != _LOCAL_MAGIC or extra_size > EXTRA_SIZE_MAX or name_size != len(header.name):
        refuse("entry header", "what the directory says", "something else")
    named = _read(file, place + _LOCAL.size, name_size + extra_size)
    sizes = [(header.checksum, header.packed_size, header.size)]
    if header.flags & _DESCRIBED:
        # They follow the content. Some tools know the size of what they are about to pack.
        sizes = [(0, 0, 0), (0, 0, header.size)]
    expected = [header.version, header.flags, header.method, header.time, header.date]
    if same != expected or named[:name_size] != header.name or (checksum, packed_size, size) not in sizes:
        refuse("entry header", "what the directory says", "something else")
    _check_extras(named[name_size:], header.extra, is_first=is_first)
    start = place + _LOCAL.size + len(named)
    is_folder = header.name.endswith(b"/")
    if is_folder and header.packed_size and _read(file, start, header.packed_size) != _NOTHING_DEFLATED:
        refuse("folder", "nothing in its entry", f"{header.packed_size} packed bytes")
    return Entry(path, is_folder, header.size, header.checksum, header.method, header.packed_size, start)


def _check_descriptor(file: BinaryIO, header: _Header, entry: Entry) -> int:
    """Check the descriptor behind an entry's content, where there is one, and return its size."""
    if not header.flags & _DESCRIBED:
        return 0
    found = _DESCRIPTOR.unpack(_read(file, entry.start + entry.packed_size, _DESCRIPTOR.size))
    if found != (_DESCRIPTOR_MAGIC, header.checksum, header.packed_size, header.size):
        refuse("descriptor", "what the directory says", "something else")
    return _DESCRIPTOR.size


# -- extra fields ----------------------------------------------------------------------------------------


def _check_extras(local: bytes, central: bytes, *, is_first: bool) -> None:
    own, listed = _split_extra(local), _split_extra(central)
    for kind, data in (*own.items(), *listed.items()):
        if kind == _JAR and not is_first:
            refuse("extra fields", "the mark of a jar in its first entry alone", "it in another")
        if not _is_extra(kind, data):
            refuse("extra fields", "times and owners as archivers write them", f"other bytes in {kind:#06x}")
    for kind in own.keys() & listed.keys():
        if not _agree(kind, own[kind], listed[kind]):
            refuse("extra fields", "the same in header and directory", f"two of {kind:#06x}")


def _split_extra(extra: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(extra):
        if len(extra) - at < 4:
            refuse("extra fields", "whole ones", "a piece")
        kind, size = struct.unpack_from("<HH", extra, at)
        data = extra[at + 4 : at + 4 + size]
        if kind not in _EXTRAS or kind in fields or len(data) != size:
            named = _OTHER_EXTRAS.get(kind, "nothing known")
            found = f"{kind:#06x} of {size} bytes: {named if kind not in _EXTRAS else 'twice, or cut'}"
            refuse("extra fields", "times and owners, each once", found)
        fields[kind] = data
        at += 4 + size
    return fields


def _is_extra(kind: int, data: bytes) -> bool:
    """Say whether a field has a form in which tools write it."""
    if kind == _TIMES:
        # A bit for each of three times, and these. The directory may have the first alone, under the same bits.
        bits = data[0] if data else 0
        return 1 <= bits <= 7 and (
            len(data) == 1 + 4 * bits.bit_count() or (bits & 1 == 1 and len(data) == 5)
        )
    if kind == _OWNERS:
        return len(data) == _OWNERS_SIZE and (data[0], data[1], data[6]) == (1, 4, 4)
    if kind == _OLD_UNIX:
        # Two times, and in the local header two owners of 2 bytes each.
        return len(data) in (_OLD_UNIX_TIMES_SIZE, _OLD_UNIX_TIMES_SIZE + 4)
    if kind == _NTFS:
        if len(data) != _NTFS_SIZE or not data.startswith(_NTFS_START):
            return False
        return all(time == 0 or time in _NTFS_TIMES for time in struct.unpack_from("<3Q", data, 8))
    return not data


def _agree(kind: int, own: bytes, listed: bytes) -> bool:
    if kind in (_TIMES, _OLD_UNIX):
        return own.startswith(listed)
    return own == listed


# -- content ---------------------------------------------------------------------------------------------


def _stored(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    place, end = entry.start, entry.start + entry.packed_size
    while place < end:
        piece = _read(file, place, min(READ_SIZE, end - place))
        yield piece
        place += len(piece)


def _inflated(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _stored(file, entry):
            if unpacker.eof:
                refuse("entry", "deflated bytes that end where it does", "more")
            left = packed
            while left and not unpacker.eof:
                piece = unpacker.decompress(left, READ_SIZE)
                left = unpacker.unconsumed_tail
                if piece:
                    yield piece
        while not unpacker.eof and (piece := unpacker.decompress(unpacker.unconsumed_tail, READ_SIZE)):
            yield piece
    except zlib.error as error:
        refuse("entry", "deflated bytes", f"{error}"[:80])
    if not unpacker.eof or unpacker.unused_data:
        refuse("entry", "deflated bytes that end where it does", "fewer or more")


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        refuse("archive", f"{size} bytes at {start}", f"{len(data)}")
    return data
