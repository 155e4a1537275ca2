"""Records: the shape of everything that is stored, hashed or signed, declared once.

Rule 1: a record is a frozen dataclass whose annotations are its shape. Its encoding is the array of its
fields in order; a class with a `TAG` puts that identifier first, which is how unions are told apart.
Rule 2: every field is checked in both directions, so an object that does not fit has no encoding. A shape is
narrower than the codec, so that what fits a shape needs no check by the codec but that of its spelling.
Rule 3: the JSON form (for people, genesis and the API) is an object with exactly the fields: bytes as lower
case hexadecimal, unions by `"type"`. Unknown, missing and repeated keys are refused.
"""

import dataclasses
import json
import re
import types
from collections.abc import Callable, Hashable
from functools import cache
from itertools import pairwise
from typing import (
    Annotated,
    ClassVar,
    Final,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from ledger.encoding.codec import (
    ARRAY_ITEMS_MAX,
    ENCODED_SIZE_MAX,
    Value,
    check_spelling,
    check_text,
    decode_unchecked,
    encode_checked,
)
from ledger.encoding.recordcode import reader_of, writer_of
from ledger.encoding.shapes import NOTHING, hints_of, tag_of
from ledger.encoding.shapes import Code as Code
from ledger.encoding.shapes import Identifier as Identifier
from ledger.encoding.shapes import Items as Items
from ledger.encoding.shapes import Octets as Octets
from ledger.encoding.shapes import Text as Text
from ledger.encoding.shapes import Uint as Uint
from ledger.errors import EncodingError

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


Hash = Annotated[bytes, Octets(32, 32)]
SignatureBytes = Annotated[bytes, Octets(64, 64)]
Nonce = Annotated[bytes, Octets(16, 16)]
Integer = Annotated[int, Uint()]
Height = Annotated[int, Uint(2**53 - 1)]
Milliseconds = Annotated[int, Uint(2**53 - 1)]
MemberId = Annotated[str, Identifier("member", 32)]
SchemaCode = Annotated[str, Identifier("schema", 48)]
PurposeCode = Annotated[str, Identifier("purpose", 48)]


class Record(Protocol):
    """Any record class."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


class _Tagged(Protocol):
    TAG: str


R = TypeVar("R", bound=Record)


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


# The walks do the same part by part: they are what the code of `ledger.encoding.recordcode` is held to, and they say
# where a value does not fit.


def walk_to_value(record: Record) -> Value:
    """Return what `to_value` returns. Raises EncodingError, which says where."""
    return _layout(type(record)).to_value(record)


def walk_from_value(shape: type[R], value: Value) -> R:
    """Return what `from_value` returns. Raises EncodingError, which says where."""
    return cast(R, _layout(shape).from_value(value))


def walk_union_from_value(shape: Hashable, value: Value) -> object:
    """Return what `union_from_value` returns. Raises EncodingError, which says where."""
    return _field(shape).from_value(value)


def to_json(record: Record) -> dict[str, Json]:
    """Return the JSON form of a record."""
    return cast(dict[str, Json], _layout(type(record)).to_json(record))


def from_json(shape: type[R], value: Json) -> R:
    """Return the record of `shape` from its JSON form. Raises EncodingError."""
    return cast(R, _layout(shape).from_json(value))


def parse_json(text: str | bytes, *, size_max: int = ENCODED_SIZE_MAX) -> Json:
    """Parse strict JSON: UTF-8, no repeated keys, no NaN, bounded size and nesting. Raises EncodingError."""
    if len(text) > size_max:
        raise EncodingError(where="JSON", expected=f"at most {size_max} bytes", found=f"{len(text)} bytes")
    try:
        # Left to itself, json.loads guesses UTF-16 and UTF-32 from bytes, and skips a byte order mark.
        decoded = text.decode() if isinstance(text, bytes) else text
        return cast(
            Json, json.loads(decoded, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
        )
    except (ValueError, RecursionError) as error:
        raise EncodingError(
            where="JSON", expected="one well-formed JSON value", found=str(error)[:120]
        ) from error


def _unique_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise EncodingError(where="JSON object", expected="each key once", found=f"{key!r} twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Json:
    raise EncodingError(where="JSON number", expected="a finite number", found=name)


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    to_value: Callable[[object], Value]
    from_value: Callable[[object], object]
    to_json: Callable[[object], Json]
    from_json: Callable[[object], object]


def _mismatch(expected: str, found: object) -> EncodingError:
    return EncodingError(where="", expected=expected, found=_describe(found))


def _describe(found: object) -> str:
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    if isinstance(found, tuple | list):
        return f"an array of {len(found)}"
    return f"{ascii(found)[:60]}"


def _within(name: str, error: EncodingError) -> EncodingError:
    where = (
        name if not error.where else name + error.where if error.where[0] == "[" else f"{name}.{error.where}"
    )
    return EncodingError(where=where, expected=error.expected, found=error.found)


@cache
def _layout(shape: Hashable) -> _Field:
    record_class = cast(type, shape)
    tag = tag_of(record_class)
    name = tag or record_class.__name__
    fields = [(field_name, _field(hint)) for field_name, hint in hints_of(record_class).items()]
    size = len(fields) + (tag is not None)
    names = [field_name for field_name, _ in fields]
    readers = [field.from_value for _, field in fields]
    writers = [(field_name, field.to_value) for field_name, field in fields]
    json_keys = ([] if tag is None else ["type"]) + names

    def to_value(record: object) -> Value:
        if type(record) is not record_class:
            raise _mismatch(name, record)
        items: list[Value] = [] if tag is None else [tag]
        field_name = ""
        try:
            for field_name, write in writers:
                items.append(write(getattr(record, field_name)))
        except EncodingError as error:
            raise _within(f"{name}.{field_name}" if not error.where else field_name, error) from None
        return tuple(items)

    def from_value(value: object) -> object:
        if type(value) is not tuple or len(value) != size:
            raise _mismatch(f"{name}, an array of {size}", value)
        if tag is not None and value[0] != tag:
            raise _mismatch(f"the tag {tag!r}", value[0])
        arguments: list[object] = []
        try:
            for read, item in zip(readers, value if tag is None else value[1:], strict=True):
                arguments.append(read(item))
        except EncodingError as error:
            raise _within(names[len(arguments)], error) from None
        return record_class(*arguments)

    def write_json(record: object) -> Json:
        result: dict[str, Json] = {} if tag is None else {"type": tag}
        for field_name, field in fields:
            result[field_name] = field.to_json(getattr(record, field_name))
        return result

    def read_json(value: object) -> object:
        if not isinstance(value, dict):
            raise _mismatch(f"{name}, an object", value)
        if set(value) != set(json_keys):
            missing = sorted(set(json_keys) - set(value))
            unknown = sorted(set(value) - set(json_keys))
            problem = f"missing {missing}" if missing else f"unknown {ascii(unknown)[:80]}"
            raise EncodingError(where="", expected=f"{name} with the keys {json_keys}", found=problem)
        if tag is not None and value["type"] != tag:
            raise _mismatch(f"the type {tag!r}", value["type"])
        arguments = []
        for field_name, field in fields:
            try:
                arguments.append(field.from_json(value[field_name]))
            except EncodingError as error:
                raise _within(field_name, error) from None
        return record_class(*arguments)

    return _Field(to_value, from_value, write_json, read_json)


@cache
def _field(hint: Hashable) -> _Field:
    if get_origin(hint) is Annotated:
        base, rule = get_args(hint)
        return _annotated(base, rule)
    if get_origin(hint) in (Union, types.UnionType):
        return _union(get_args(hint))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _layout(hint)
    raise TypeError(f"a record field needs a rule: {hint!r}")


def _annotated(base: Hashable, rule: object) -> _Field:
    match rule:
        case Uint():
            return _plain(_uint_check(rule), lambda value: cast(int, value), lambda value: value)
        case Octets():
            return _plain(_octets_check(rule), lambda value: cast(bytes, value).hex(), _unhex)
        case Identifier():
            return _plain(_identifier_check(rule), lambda value: cast(str, value), lambda value: value)
        case Code():
            return _plain(_code_check(rule), lambda value: cast(str, value), lambda value: value)
        case Text():
            return _plain(_text_check(rule), lambda value: cast(str, value), lambda value: value)
        case Items():
            return _items(get_args(base)[0], rule)
        case _:
            raise TypeError(f"unknown field rule {rule!r}")


def _plain(
    check: Callable[[object], Value], show: Callable[[object], Json], read: Callable[[object], object]
) -> _Field:
    return _Field(check, check, lambda value: show(check(value)), lambda value: check(read(value)))


def _uint_check(rule: Uint) -> Callable[[object], Value]:
    minimum, maximum = rule.minimum, rule.maximum
    expected = f"an integer from {minimum} to {maximum}"

    def check(value: object) -> Value:
        if type(value) is not int or not minimum <= value <= maximum:
            raise _mismatch(expected, value)
        return value

    return check


def _octets_check(rule: Octets) -> Callable[[object], Value]:
    minimum, maximum = rule.minimum, rule.maximum
    expected = f"{minimum} bytes" if minimum == maximum else f"{minimum} to {maximum} bytes"

    def check(value: object) -> Value:
        if type(value) is not bytes or not minimum <= len(value) <= maximum:
            raise _mismatch(expected, value)
        return value

    return check


def _identifier_check(rule: Identifier) -> Callable[[object], Value]:
    matches = re.compile(rule.pattern, re.ASCII).fullmatch
    size_max = rule.size_max
    expected = f"a {rule.names} identifier of 1 to {size_max} characters like {rule.pattern}"

    def check(value: object) -> Value:
        if type(value) is not str or len(value) > size_max or not matches(value):
            raise _mismatch(expected, value)
        return value

    return check


def _code_check(rule: Code) -> Callable[[object], Value]:
    allowed = frozenset(rule.allowed)

    def check(value: object) -> Value:
        if type(value) is not str or value not in allowed:
            raise _mismatch(f"one of {', '.join(rule.allowed)}", value)
        return value

    return check


def _text_check(rule: Text) -> Callable[[object], Value]:
    def check(value: object) -> Value:
        if type(value) is not str or not 1 <= len(value.encode("utf-8", "replace")) <= rule.size_max:
            raise _mismatch(f"text of 1 to {rule.size_max} bytes", value)
        check_text(value)
        return value

    return check


def _unhex(value: object) -> object:
    if type(value) is not str or not _HEX.fullmatch(value):
        raise _mismatch("lower case hexadecimal", value)
    return bytes.fromhex(value)


_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)


def _items(item_hint: Hashable, rule: Items) -> _Field:
    item = _field(item_hint)
    expected = f"{rule.minimum} to {rule.maximum} items"

    assert rule.maximum <= ARRAY_ITEMS_MAX, "no shape is wider than the codec"

    def walk(values: object, read: Callable[[object], object]) -> list[object]:
        sequence = cast("list[object]", values)
        if type(values) not in (tuple, list) or not rule.minimum <= len(sequence) <= rule.maximum:
            raise _mismatch(expected, values)
        results: list[object] = []
        try:
            for value in sequence:
                # Not a comprehension: where one fails, how many came before it says which it was.
                results.append(read(value))  # noqa: PERF401
        except EncodingError as error:
            raise _within(f"[{len(results)}]", error) from None
        return results

    def check_order(values: tuple[Value, ...]) -> None:
        items = cast("tuple[bytes, ...]", values)
        if rule.increasing and any(low >= high for low, high in pairwise(items)):
            raise EncodingError(
                where="", expected="items in strictly increasing order", found="repeated or unordered items"
            )

    def to_value(values: object) -> Value:
        if type(values) is not tuple:
            raise _mismatch(expected, values)
        encoded = tuple(cast("list[Value]", walk(values, item.to_value)))
        check_order(encoded)
        return encoded

    def from_value(values: object) -> object:
        if type(values) is not tuple:
            raise _mismatch(expected, values)
        results = tuple(walk(values, item.from_value))
        check_order(values)
        return results

    def to_json_list(values: object) -> Json:
        return cast("list[Json]", walk(values, item.to_json))

    def from_json_list(values: object) -> object:
        if type(values) is not list:
            raise _mismatch(expected, values)
        results = tuple(walk(values, item.from_json))
        to_value(results)
        return results

    return _Field(to_value, from_value, to_json_list, from_json_list)


def _union(options: tuple[Hashable, ...]) -> _Field:
    others = tuple(option for option in options if option is not NOTHING)
    if len(others) < len(options):
        inner = _field(others[0]) if len(others) == 1 else _union(others)
        return _Field(
            lambda value: None if value is None else inner.to_value(value),
            lambda value: None if value is None else inner.from_value(value),
            lambda value: None if value is None else inner.to_json(value),
            lambda value: None if value is None else inner.from_json(value),
        )
    classes = {cast(_Tagged, option).TAG: cast(type, option) for option in options}
    expected = f"one of {', '.join(classes)}"

    def by_class(record: object) -> _Field:
        record_class = classes.get(getattr(record, "TAG", ""))
        if record_class is None or type(record) is not record_class:
            raise _mismatch(expected, record)
        return _layout(cast(Hashable, record_class))

    def by_tag(tag: object, found: object) -> _Field:
        if type(tag) is not str or tag not in classes:
            raise _mismatch(expected, found)
        return _layout(classes[tag])

    return _Field(
        lambda record: by_class(record).to_value(record),
        lambda value: by_tag(value[0] if type(value) is tuple and value else None, value).from_value(value),
        lambda record: by_class(record).to_json(record),
        lambda value: by_tag(value.get("type") if isinstance(value, dict) else None, value).from_json(value),
    )
