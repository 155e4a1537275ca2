"""Packages: document and proof as one ZIP file, and which of two files is which (docs/formats.md, Package).

Rule 1: the two are told apart by content, never by name: exactly one begins as a proof file does.
Rule 2: a package is two entries, the directory that lists them and its end, each right after the other, and
nothing else. So every ZIP reader finds the same two files in it.
Rule 3: what the directory says of an entry and what the entry says of itself agree. Sizes are bounded before
anything is unpacked, and what is unpacked has exactly the size and checksum stated.
Rule 4: no encryption, no data descriptor, no ZIP64, no comment, no method but stored and deflate.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from ledger.errors import EncodingError
from ledger.proofs import PROOF_MAGIC, PROOF_SIZE_MAX

PACKAGED_DOCUMENT_SIZE_MAX: Final = 64 * 1024 * 1024
PACKAGE_SIZE_MAX: Final = PACKAGED_DOCUMENT_SIZE_MAX + PROOF_SIZE_MAX + 64 * 1024
NAME_SIZE_MAX: Final = 1_024
EXTRA_SIZE_MAX: Final = 256

_LOCAL: Final = struct.Struct("<IHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<IHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<IHHHHIIH")
_LOCAL_SIGNATURE: Final = 0x04034B50
_CENTRAL_SIGNATURE: Final = 0x02014B50
_END_SIGNATURE: Final = 0x06054B50
_STORED: Final = 0
_DEFLATED: Final = 8
# How hard it was compressed (bits 1 and 2), and UTF-8 names (bit 11). Nothing else may be flagged.
_FLAGS_ALLOWED: Final = 0b1000_0000_0110
_EXTRA_REFUSED: Final = {0x0001: "ZIP64 sizes", 0x7075: "another name", 0x9901: "encryption"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A document and the content of its proof file."""

    document: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a directory entry says, and where the next one starts."""

    name: bytes
    flags: int
    method: int
    checksum: int
    packed_size: int
    size: int
    offset: int
    end: int


def is_package(start: bytes) -> bool:
    """Say whether the first bytes of a file are those of a package."""
    return start[:4] == _LOCAL_SIGNATURE.to_bytes(4, "little")


def match_pair(first: bytes, second: bytes) -> Pair:
    """Return which of two files is the document and which its proof. Raises EncodingError."""
    begins = [content.startswith(PROOF_MAGIC[:-1]) for content in (first, second)]
    if begins == [False, True]:
        return Pair(first, second)
    if begins == [True, False]:
        return Pair(second, first)
    raise EncodingError("document and proof", "exactly one proof file of two files", f"{sum(begins)}")


def open_package(data: bytes) -> Pair:
    """Return the document and the proof of a package. Raises EncodingError."""
    if len(data) > PACKAGE_SIZE_MAX:
        raise EncodingError("package", f"at most {PACKAGE_SIZE_MAX} bytes", f"{len(data)} bytes")
    start, size = _read_end(data)
    first = _read_directory(data, start)
    second = _read_directory(data, first.end)
    _expect("package directory", size, second.end - start)
    _expect("place of the first entry", 0, first.offset)
    contents, end = [], 0
    for entry in (first, second):
        _expect("place of an entry", end, entry.offset)
        packed, end = _read_entry(data, entry)
        contents.append(_unpacked(packed, entry))
    _expect("place of the package directory", end, start)
    return match_pair(*contents)


def _read_end(data: bytes) -> tuple[int, int]:
    """Return where the directory starts, and its size."""
    if len(data) < _END.size:
        raise EncodingError("package", "a ZIP file", f"{len(data)} bytes")
    fields = _END.unpack_from(data, len(data) - _END.size)
    signature, disk, first_disk, entries_here, entries, size, start, comment_size = fields
    _expect("package end", _END_SIGNATURE, signature)
    _expect("package disks", (0, 0), (disk, first_disk))
    _expect("package entries", (2, 2), (entries_here, entries))
    _expect("package comment size", 0, comment_size)
    _expect("package end after its directory", len(data) - _END.size, start + size)
    return start, size


def _read_directory(data: bytes, at: int) -> _Entry:
    head = _take(data, at, _CENTRAL.size)
    signature, _, _, flags, method, _, _, checksum, packed, size, *rest = _CENTRAL.unpack(head)
    name_size, extra_size, comment_size, disk, _, _, offset = rest
    _expect("directory entry", _CENTRAL_SIGNATURE, signature)
    _expect("directory entry comment and disk", (0, 0), (comment_size, disk))
    _check_sizes(name_size, extra_size)
    name = _take(data, at + _CENTRAL.size, name_size)
    extra = _take(data, at + _CENTRAL.size + name_size, extra_size)
    _check_extra(extra)
    if flags & ~_FLAGS_ALLOWED:
        raise EncodingError("package entry flags", "neither encryption nor data descriptor", f"{flags:#x}")
    if method not in (_STORED, _DEFLATED):
        raise EncodingError("package entry method", "stored or deflate", f"{method}")
    if size > PACKAGED_DOCUMENT_SIZE_MAX:
        raise EncodingError("package entry", f"at most {PACKAGED_DOCUMENT_SIZE_MAX} bytes", f"{size} bytes")
    end = at + _CENTRAL.size + name_size + extra_size
    return _Entry(name, flags, method, checksum, packed, size, offset, end)


def _read_entry(data: bytes, entry: _Entry) -> tuple[bytes, int]:
    """Return an entry's packed content, and where it ends."""
    fields = _LOCAL.unpack(_take(data, entry.offset, _LOCAL.size))
    signature, _, flags, method, _, _, checksum, packed_size, size, name_size, extra_size = fields
    _expect("package entry", _LOCAL_SIGNATURE, signature)
    said = (entry.flags, entry.method, entry.checksum, entry.packed_size, entry.size)
    _expect("package entry as its directory says", said, (flags, method, checksum, packed_size, size))
    _check_sizes(name_size, extra_size)
    at = entry.offset + _LOCAL.size
    _expect("package entry name", entry.name, _take(data, at, name_size))
    _check_extra(_take(data, at + name_size, extra_size))
    start = at + name_size + extra_size
    return _take(data, start, packed_size), start + packed_size


def _unpacked(packed: bytes, entry: _Entry) -> bytes:
    content = packed if entry.method == _STORED else _inflated(packed, entry.size)
    _expect("package entry size", entry.size, len(content))
    _expect("package entry checksum", entry.checksum, zlib.crc32(content))
    return content


def _inflated(packed: bytes, size: int) -> bytes:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflate.decompress(packed, size + 1)
    except zlib.error as error:
        raise EncodingError("package entry", "a deflate stream", str(error)) from error
    if not inflate.eof or inflate.unused_data:
        raise EncodingError("package entry", f"a deflate stream of {size} bytes", "more, less or other bytes")
    return content


def _check_sizes(name_size: int, extra_size: int) -> None:
    if name_size > NAME_SIZE_MAX or extra_size > EXTRA_SIZE_MAX:
        expected = f"a name of at most {NAME_SIZE_MAX} bytes and {EXTRA_SIZE_MAX} of extra fields"
        raise EncodingError("package entry", expected, f"{name_size} and {extra_size}")


def _check_extra(extra: bytes) -> None:
    """Timestamps and owners, which tools add, mean nothing here; what would change the reading is refused."""
    at = 0
    while at < len(extra):
        kind, size = struct.unpack("<HH", _take(extra, at, 4))
        if kind in _EXTRA_REFUSED:
            raise EncodingError("package entry", f"no {_EXTRA_REFUSED[kind]}", f"extra field {kind:#06x}")
        _take(extra, at + 4, size)
        at += 4 + size


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise EncodingError("package", f"{size} bytes at {at}", f"the end at {len(data)}")
    return data[at : at + size]


def _expect(where: str, expected: object, found: object) -> None:
    if expected != found:
        raise EncodingError(where, f"{expected!r}"[:120], f"{found!r}"[:120])
