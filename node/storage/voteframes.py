"""The bytes of the vote log: header pages, groups of records written twice, and what a scan makes of them.

Rule 1: every append is one group: checksum, length, sequence, records, padding to whole pages; then the same
bytes again. Either intact copy counts.
Rule 2: groups and their copies start on pages of their own. Neither a torn append nor one bad page can touch
a group synced earlier or both copies of one.
Rule 3: the checksum is a keyed 32-byte digest. A CRC is linear and 32 bits short: it detects few flips for
certain and lets one damaged page in four thousand million through, and this one field decides whether a
validator remembers its votes. The key is a random id of the file, so a stale page of an older log, shown by
a disk after a power cut, is not a record of this one.
Rule 4: padding is never zero, so a sector of zeros is one that was never written. A last group of which both
copies lack a sector was never synced, so never sent: torn. Both copies whole and wrong is damage.
"""

import hmac
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from ledger.encoding.codec import decode, encode
from ledger.encoding.digests import HASH_SIZE, keyed_digest, tagged_digest
from ledger.encoding.records import Hash, MemberId, Uint, pack, unpack
from ledger.errors import EncodingError, LuohuError

PAGE_SIZE: Final = 4096
SECTOR_SIZE: Final = 512
RECORD_SIZE_MAX: Final = 64 * 1024
RECORDS_PER_GROUP_MAX: Final = 1024
GROUP_SIZE_MAX: Final = 1024 * 1024

VERSION: Final = 1
HEADER_SIZE: Final = 2 * PAGE_SIZE

_MAGIC: Final = b"LUOHU-VOTELOG\n"
_HEADER_HEAD: Final = struct.Struct(">14sHI")
_GROUP_HEAD: Final = struct.Struct(">IQ")
_HEADER_TAG: Final = "luohu/votelog/header/1"
_GROUP_TAG: Final = "luohu/votelog/group/1"
_PADDING: Final = b"\xa5"
_RECORD_OVERHEAD: Final = 5
_GROUP_OVERHEAD: Final = HASH_SIZE + _GROUP_HEAD.size + 5


@dataclass(frozen=True, slots=True)
class LogHeader:
    """Whose log this is. `amnesia` is 1 from a damage until the node has shown that it is safe to vote."""

    chain_id: Hash
    validator: MemberId
    file_id: Hash
    amnesia: Annotated[int, Uint(1)]


class FrameError(LuohuError):
    """A header that belongs to another version of the format."""


def encode_header(header: LogHeader) -> bytes:
    """Return both copies of the header, one page each."""
    content = pack(header)
    page = _HEADER_HEAD.pack(_MAGIC, VERSION, len(content)) + content
    page = page.ljust(PAGE_SIZE - HASH_SIZE, _PADDING)
    return (page + tagged_digest(_HEADER_TAG, page)) * 2


def decode_header(data: bytes) -> tuple[LogHeader, int] | None:
    """Return the header and how many of its two copies are intact; None where neither is."""
    copies = [copy for copy in (_read_header(data, 0), _read_header(data, PAGE_SIZE)) if copy is not None]
    if not copies or copies[0] != copies[-1]:
        return None
    return copies[0], len(copies)


def _read_header(data: bytes, position: int) -> LogHeader | None:
    page = data[position : position + PAGE_SIZE]
    if len(page) < PAGE_SIZE:
        return None
    body, checksum = page[:-HASH_SIZE], page[-HASH_SIZE:]
    magic, version, size = _HEADER_HEAD.unpack_from(body)
    if magic != _MAGIC or not hmac.compare_digest(tagged_digest(_HEADER_TAG, body), checksum):
        return None
    if version != VERSION:
        raise FrameError(where="vote log", expected=f"format version {VERSION}", found=f"{version}")
    try:
        return unpack(LogHeader, body[_HEADER_HEAD.size : _HEADER_HEAD.size + size])
    except EncodingError:
        return None


def encode_group(file_id: bytes, sequence: int, records: Sequence[bytes]) -> bytes:
    """Return one copy of a group, a whole number of pages. Raises EncodingError past a limit."""
    if not 1 <= len(records) <= RECORDS_PER_GROUP_MAX:
        raise EncodingError(
            where="vote log append", expected=f"1 to {RECORDS_PER_GROUP_MAX} records", found=f"{len(records)}"
        )
    largest = max(len(record) for record in records)
    if largest > RECORD_SIZE_MAX:
        raise EncodingError(
            where="vote log record", expected=f"at most {RECORD_SIZE_MAX} bytes", found=f"{largest}"
        )
    content = encode(tuple(records))
    size = _group_size(len(content))
    if size > GROUP_SIZE_MAX:
        raise EncodingError(
            where="vote log append", expected=f"at most {GROUP_SIZE_MAX} bytes", found=f"{size}"
        )
    body = (_GROUP_HEAD.pack(len(content), sequence) + content).ljust(size - HASH_SIZE, _PADDING)
    return keyed_digest(file_id, _GROUP_TAG, body) + body


def split_into_groups(records: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield the records in order, in lists that each fit one group."""
    group: list[bytes] = []
    size = _GROUP_OVERHEAD
    for record in records:
        needed = len(record) + _RECORD_OVERHEAD
        if group and (len(group) == RECORDS_PER_GROUP_MAX or size + needed > GROUP_SIZE_MAX):
            yield group
            group, size = [], _GROUP_OVERHEAD
        group.append(record)
        size += needed
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class Scan:
    """What the pages after the header hold. With a `problem`, `records` are those that are intact."""

    records: tuple[bytes, ...]
    groups_count: int
    end: int
    damaged_copies_count: int
    torn: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class _Copy:
    position: int
    size: int
    sequence: int
    records: tuple[bytes, ...]


def scan_groups(file_id: bytes, data: bytes) -> Scan:
    """Return what a whole log file holds after its header. Never raises: damage is an answer."""
    groups: dict[int, list[_Copy]] = {}
    for copy in _intact_copies(file_id, data):
        groups.setdefault(copy.sequence, []).append(copy)
    records = tuple(record for sequence in sorted(groups) for record in groups[sequence][0].records)
    end = HEADER_SIZE
    damaged_copies_count = 0
    problem: str | None = None
    for sequence in range(len(groups)):
        problem = _find_problem(groups.get(sequence, []), sequence, end)
        if problem is not None:
            break
        damaged_copies_count += 2 - len(groups[sequence])
        end += 2 * groups[sequence][0].size
    tail = data[end:]
    torn = problem is None and bool(tail) and _is_torn(tail, len(groups))
    if problem is None and tail and not torn:
        problem = f"group {len(groups)}: expected an intact copy or the end, found {len(tail)} damaged bytes"
    return Scan(records, len(groups), end, damaged_copies_count, torn, problem)


def _intact_copies(file_id: bytes, data: bytes) -> Iterator[_Copy]:
    position = HEADER_SIZE
    while position < len(data):
        copy = _read_copy(file_id, data, position)
        if copy is not None:
            yield copy
        position += PAGE_SIZE if copy is None else copy.size


def _read_copy(file_id: bytes, data: bytes, position: int) -> _Copy | None:
    start = position + HASH_SIZE
    if start + _GROUP_HEAD.size > len(data):
        return None
    length, sequence = _GROUP_HEAD.unpack_from(data, start)
    size = _group_size(length)
    if size > GROUP_SIZE_MAX or position + size > len(data):
        return None
    body = data[start : position + size]
    if not hmac.compare_digest(keyed_digest(file_id, _GROUP_TAG, body), data[position:start]):
        return None
    records = _decode_records(body[_GROUP_HEAD.size : _GROUP_HEAD.size + length])
    return None if records is None else _Copy(position, size, sequence, records)


def _decode_records(content: bytes) -> tuple[bytes, ...] | None:
    try:
        value = decode(content, size_max=GROUP_SIZE_MAX)
    except EncodingError:
        return None
    if not isinstance(value, tuple):
        return None
    records = tuple(item for item in value if isinstance(item, bytes))
    return records if len(records) == len(value) else None


def _find_problem(copies: Sequence[_Copy], sequence: int, position: int) -> str | None:
    if not copies:
        return f"group {sequence}: expected an intact copy at byte {position}, found both copies damaged"
    places = {position, position + copies[0].size}
    if any(copy.position not in places for copy in copies):
        found = [copy.position for copy in copies]
        return f"group {sequence}: expected its copies at bytes {sorted(places)}, found them at {found}"
    if copies[0].records != copies[-1].records:
        return f"group {sequence}: expected two equal copies, found two that differ"
    return None


def _is_torn(tail: bytes, sequence: int) -> bool:
    if len(tail) > 2 * GROUP_SIZE_MAX:
        return False
    # The first copy never reached the disk; an intact second one would have been found.
    if len(tail) < HASH_SIZE + _GROUP_HEAD.size or not any(tail[:SECTOR_SIZE]):
        return True
    length, found_sequence = _GROUP_HEAD.unpack_from(tail, HASH_SIZE)
    size = _group_size(length)
    if found_sequence != sequence or size > GROUP_SIZE_MAX or len(tail) > 2 * size:
        return False
    return _lacks_a_sector(tail[:size], size) and _lacks_a_sector(tail[size:], size)


def _lacks_a_sector(copy: bytes, size: int) -> bool:
    if len(copy) < size:
        return True
    return any(not any(copy[start : start + SECTOR_SIZE]) for start in range(0, size, SECTOR_SIZE))


def _group_size(content_size: int) -> int:
    pages = -(-(HASH_SIZE + _GROUP_HEAD.size + content_size) // PAGE_SIZE)
    return pages * PAGE_SIZE
