"""Records: the shape of everything that is stored, hashed or signed, declared once.

Rule 1: a record is a frozen dataclass whose annotations are its shape. Its encoding is the array of its
fields in order; a class with a `TAG` puts that identifier first, which is how unions are told apart.
Rule 2: every field is checked in both directions, so an object that does not fit has no encoding. A shape is
narrower than the codec, so that what fits a shape needs no check by the codec but that of its spelling.
Rule 3: a record has two forms: the array form (`ledger.encoding.arrayform`), which is what is encoded, and the
JSON form (`ledger.encoding.jsonform`), which people and the API read.
"""

from collections.abc import Hashable
from typing import Annotated, cast

from ledger.encoding.arrayform import walk_from_value, walk_to_value, walk_union_from_value
from ledger.encoding.codec import ENCODED_SIZE_MAX, Value, check_spelling, decode_unchecked, encode_checked
from ledger.encoding.jsonform import Json as Json
from ledger.encoding.jsonform import from_json as from_json
from ledger.encoding.jsonform import parse_json as parse_json
from ledger.encoding.jsonform import to_json as to_json
from ledger.encoding.recordcode import reader_of, writer_of
from ledger.encoding.shapes import Code as Code
from ledger.encoding.shapes import Identifier as Identifier
from ledger.encoding.shapes import Items as Items
from ledger.encoding.shapes import Octets as Octets
from ledger.encoding.shapes import R as R
from ledger.encoding.shapes import Record as Record
from ledger.encoding.shapes import Text as Text
from ledger.encoding.shapes import Uint as Uint
from ledger.errors import EncodingError

Hash = Annotated[bytes, Octets(32, 32)]
SignatureBytes = Annotated[bytes, Octets(64, 64)]
# By a holder or a consent key, of whichever algorithm: 64 bytes by Ed25519, more by what is reserved.
HolderSignatureBytes = Annotated[bytes, Octets(64, 1_024)]
Nonce = Annotated[bytes, Octets(16, 16)]
Integer = Annotated[int, Uint()]
Height = Annotated[int, Uint(2**53 - 1)]
Milliseconds = Annotated[int, Uint(2**53 - 1)]
MemberId = Annotated[str, Identifier("member", 32)]
SchemaCode = Annotated[str, Identifier("schema", 48)]
PurposeCode = Annotated[str, Identifier("purpose", 48)]


def pack(record: Record) -> bytes:
    """Return the canonical encoding of a record. Raises EncodingError where a field does not fit."""
    return encode_checked(to_value(record))


def unpack(shape: type[R], data: bytes, *, size_max: int = ENCODED_SIZE_MAX) -> R:
    """Return the record of `shape` that `data` encodes. Raises EncodingError."""
    value = decode_unchecked(data, size_max=size_max)
    record = from_value(shape, value)
    check_spelling(value, data)
    return record


def unpack_union(shape: Hashable, data: bytes, *, size_max: int = ENCODED_SIZE_MAX) -> object:
    """Return the tagged record of the union `shape` that `data` encodes. Raises EncodingError."""
    value = decode_unchecked(data, size_max=size_max)
    record = union_from_value(shape, value)
    check_spelling(value, data)
    return record


def to_value(record: Record) -> Value:
    """Return the array form of a record. Raises EncodingError where a field does not fit."""
    try:
        return writer_of(type(record))(record)
    except EncodingError:
        return walk_to_value(record)


def from_value(shape: type[R], value: Value) -> R:
    """Return the record of `shape` from its array form. Raises EncodingError."""
    try:
        return cast(R, reader_of(shape)(value))
    except EncodingError:
        return walk_from_value(shape, value)


def union_from_value(shape: Hashable, value: Value) -> object:
    """Return the tagged record of the union `shape` from its array form. Raises EncodingError."""
    try:
        return reader_of(shape)(value)
    except EncodingError:
        return walk_union_from_value(shape, value)
