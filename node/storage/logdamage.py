"""Where a log of LevelDB is damaged: its own error says neither the file nor the place.

Rule 1: only whole records are judged. A record that the end of a file cuts short is a write that a crash ended.
Rule 2: what is read here is believed by nobody: it names a place for people.

A log is blocks of 32 KiB. A record in one: masked CRC-32C (4 bytes, little-endian) of type and content, the content's
size (2), type (1), content. The manifest has the same form.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.files.reading import open_within

_BLOCK_SIZE: Final = 32 * 1024
_HEAD_SIZE: Final = 7
_TYPES: Final = range(1, 5)
_MASK_DELTA: Final = 0xA282EAD8
_POLYNOMIAL: Final = 0x82F63B78


@dataclass(frozen=True, slots=True)
class LogDamage:
    """The first damaged record of a log: its file's name, its offset in bytes, what was expected and found."""

    file: str
    offset: int
    expected: str
    found: str


def find_log_damage(database: Path) -> LogDamage | None:
    """Return the first damaged record of a database's logs and manifests, in order of their names; None for none."""
    names = sorted((*database.glob("MANIFEST-*"), *database.glob("*.log")))
    return next((found for path in names if (found := _find_damage(path)) is not None), None)


def _find_damage(path: Path) -> LogDamage | None:
    with open_within(path.parent, path.name) as file:
        content = file.read()
    for start in range(0, len(content), _BLOCK_SIZE):
        found = _damage_in(path.name, start, content[start : start + _BLOCK_SIZE])
        if found is not None:
            return found
    return None


def _damage_in(name: str, start: int, block: bytes) -> LogDamage | None:
    offset, is_last = 0, len(block) < _BLOCK_SIZE
    while offset + _HEAD_SIZE <= len(block):
        size, kind = int.from_bytes(block[offset + 4 : offset + 6], "little"), block[offset + 6]
        end = offset + _HEAD_SIZE + size
        if kind == 0 and size == 0:
            # Room that was set aside and not written.
            return None
        if end > len(block):
            if is_last:
                return None
            return LogDamage(name, start + offset, "a record within its block", f"a size of {size} bytes")
        if kind not in _TYPES:
            return LogDamage(name, start + offset, "a record of type 1 to 4", f"type {kind}")
        stated = int.from_bytes(block[offset : offset + 4], "little")
        if stated != _masked(_crc32c(block[offset + 6 : end])):
            return LogDamage(name, start + offset, "a record that fits its checksum", "another content")
        offset = end
    return None


def _masked(checksum: int) -> int:
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _crc32c(content: bytes) -> int:
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum = _TABLE[(checksum ^ byte) & 0xFF] ^ (checksum >> 8)
    return checksum ^ 0xFFFFFFFF


def _entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_entry(value) for value in range(256))
