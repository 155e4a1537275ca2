"""The tables of the stored chain: where each record lies, and reading one that may be damaged.

Rule 1: a key is a one-byte table and what names the record in it; numbers have a fixed width, so that keys
sort by them.
Rule 2: checksums are verified on every read. What cannot be read, or not decoded, is a StoreError that names
the record, never an error of the database and never an absent record. What the disk refuses is no damage.

Tables, by the first byte of the key; integers are 8 bytes, big-endian:

    M name -> metadata        H height -> header          h block hash -> height
    T height, index -> transaction                        t transaction id -> height, index
    C height -> certificate   V state key -> leaf value   P page path -> page
    N level (1 byte), index -> history node               U height, block hash -> unfinalized block
    E epoch -> height of its seal, next validators
    v, p: the staging state tables. Metadata "state" says which pair is in use; a snapshot is installed in the other
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from ledger.errors import LedgerError
from node.diskfaults import CURES
from node.errors import StoreError, StoreRefused
from node.storage.database import DatabaseError, DatabaseRefused, Reader

_NUMBER_SIZE: Final = 8

META, HEADER, HEIGHT, TRANSACTION, LOCATION = b"M", b"H", b"h", b"T", b"t"
CERTIFICATE, VALUE, PAGE, NODE, PENDING = b"C", b"V", b"P", b"N", b"U"
SEAL = b"E"
STATE_TABLES: Final = ((VALUE, PAGE), (b"v", b"p"))
"""Pairs of value and page tables: one is in use, the other for staging (docs/sync.md, Install)."""
_NAMES: Final = {
    META: "metadata",
    HEADER: "header",
    HEIGHT: "height of a block hash",
    TRANSACTION: "transaction",
    LOCATION: "place of a transaction",
    CERTIFICATE: "quorum certificate",
    VALUE: "state value",
    PAGE: "state page",
    b"v": "state value",
    b"p": "state page",
    NODE: "history node",
    PENDING: "unfinalized block",
    SEAL: "end of an epoch",
}

REPAIR: Final = "Stop the node and run: luohu node repair --home HOME."

T = TypeVar("T")


class StoreDamaged(StoreError):
    """What the disk holds is not what the node wrote."""

    def __init__(self, *, expected: str, found: str) -> None:
        super().__init__(expected=expected, found=found, cure=REPAIR)


def damaged(key: bytes, found: str) -> StoreDamaged:
    """Return the error that names the record under `key`, or the table that it begins with."""
    name = _NAMES.get(key[:1], f"table {key[:1].hex()}")
    return StoreDamaged(expected=f"an intact record ({name} {key[1:].hex()})", found=found)


def refused(error: DatabaseRefused) -> StoreRefused:
    """Return the error that says what the disk or the system refused, and what to do about it."""
    return StoreRefused(
        expected="a disk that can be read and written", found=f"{error}", cure=CURES[error.number]
    )


def unreadable(key: bytes, error: DatabaseError) -> StoreError:
    """Return the error of a record under `key`, or after it, that the database cannot read."""
    return refused(error) if isinstance(error, DatabaseRefused) else damaged(key, str(error))


def read_record(reader: Reader, key: bytes) -> bytes | None:
    """Return the record under a key, or None. Raises StoreError."""
    try:
        return reader.get(key)
    except DatabaseError as error:
        raise unreadable(key, error) from error


def decode_record(decode: Callable[[bytes], T], key: bytes, value: bytes) -> T:
    """Return what the record under `key` encodes. Raises StoreError."""
    try:
        return decode(value)
    except LedgerError as error:
        raise damaged(key, str(error)) from error


@contextmanager
def reading(start: bytes) -> Iterator[None]:
    """Read on from the key `start`. Raises StoreError where the database cannot."""
    try:
        yield
    except DatabaseError as error:
        raise unreadable(start, error) from error


def number_key(number: int) -> bytes:
    """Return a number as it stands in keys."""
    return number.to_bytes(_NUMBER_SIZE, "big")


def decode_number(key: bytes, value: bytes) -> int:
    """Return the number in `value`, which stands in the record under `key`. Raises StoreError."""
    if len(value) != _NUMBER_SIZE:
        raise damaged(key, f"{len(value)} bytes for a number")
    return int.from_bytes(value, "big")
