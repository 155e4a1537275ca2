"""The JSON form of a record, for people, genesis and the API.

Rule 1: a record is an object with exactly its fields, and with its tag as `"type"`. Byte strings are lower case
hexadecimal. Unknown, missing and repeated keys are refused.
Rule 2: what JSON brings in is checked as the array form is; what has no array form has no JSON form.
"""

import dataclasses
import json
import re
import types
from collections.abc import Callable, Hashable
from functools import cache
from typing import Annotated, Final, TypeAlias, Union, cast, get_args, get_origin

from ledger.encoding.arrayform import (
    classes_by_tag,
    mismatch,
    part_to_value,
    plain_check,
    walk_items,
    within,
)
from ledger.encoding.codec import ENCODED_SIZE_MAX
from ledger.encoding.shapes import NOTHING, Items, Octets, R, Record, hints_of, tag_of
from ledger.errors import EncodingError

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    write: Callable[[object], Json]
    read: Callable[[object], object]


_MARKS: Final = (
    (b"\xef\xbb\xbf", "a byte-order mark before the text"),
    (b"\xff\xfe", "a text in UTF-16"),
    (b"\xfe\xff", "a text in UTF-16"),
)


def to_json(record: Record) -> dict[str, Json]:
    """Return the JSON form of a record. Raises EncodingError where a field does not fit."""
    return cast(dict[str, Json], _layout(type(record)).write(record))


def from_json(shape: type[R], value: Json) -> R:
    """Return the record of `shape` from its JSON form. Raises EncodingError, which says where."""
    return cast(R, _layout(shape).read(value))


def parse_json(text: str | bytes, *, size_max: int = ENCODED_SIZE_MAX) -> Json:
    """Parse strict JSON: UTF-8, no repeated keys, no NaN, bounded size and nesting. Raises EncodingError."""
    if len(text) > size_max:
        raise EncodingError(where="JSON", expected=f"at most {size_max} bytes", found=f"{len(text)} bytes")
    mark = find_mark(text) if isinstance(text, bytes) else None
    if mark is not None:
        raise EncodingError(where="JSON", expected="UTF-8 without a byte-order mark", found=mark)
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


def find_mark(content: bytes) -> str | None:
    """Return what editors put before a text, in words with what to do about it; None where there is none."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return f"{name}, as some editors write it; save the file as UTF-8 without a byte-order mark (BOM)"
    return None


def _unique_keys(members: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in members:
        if key in found:
            raise EncodingError(where="JSON object", expected="each key once", found=f"{key!r} twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Json:
    raise EncodingError(where="JSON number", expected="a finite number", found=name)


@cache
def _layout(shape: Hashable) -> _Part:
    record_class = cast(type, shape)
    tag = tag_of(record_class)
    name = tag or record_class.__name__
    parts = [(field_name, _part(hint)) for field_name, hint in hints_of(record_class).items()]
    keys = ([] if tag is None else ["type"]) + [field_name for field_name, _ in parts]

    def write(record: object) -> Json:
        result: dict[str, Json] = {} if tag is None else {"type": tag}
        for field_name, part in parts:
            result[field_name] = part.write(getattr(record, field_name))
        return result

    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise mismatch(f"{name}, an object", value)
        if set(value) != set(keys):
            missing = sorted(set(keys) - set(value))
            unknown = sorted(set(value) - set(keys))
            problem = f"missing {missing}" if missing else f"unknown {ascii(unknown)[:80]}"
            raise EncodingError(where="", expected=f"{name} with the keys {keys}", found=problem)
        if tag is not None and value["type"] != tag:
            raise mismatch(f"the type {tag!r}", value["type"])
        arguments = []
        for field_name, part in parts:
            try:
                arguments.append(part.read(value[field_name]))
            except EncodingError as error:
                raise within(field_name, error) from None
        return record_class(*arguments)

    return _Part(write, read)


@cache
def _part(hint: Hashable) -> _Part:
    if get_origin(hint) is Annotated:
        base, rule = get_args(hint)
        return _items(hint, get_args(base)[0], rule) if isinstance(rule, Items) else _plain(rule)
    if get_origin(hint) in (Union, types.UnionType):
        return _union(get_args(hint))
    return _layout(hint)


def _plain(rule: object) -> _Part:
    check = plain_check(rule)
    if isinstance(rule, Octets):
        return _Part(lambda value: cast(bytes, check(value)).hex(), lambda value: check(_unhex(value)))
    return _Part(lambda value: cast("int | str", check(value)), check)


def _unhex(value: object) -> object:
    if type(value) is not str or not _HEX.fullmatch(value):
        raise mismatch("lower case hexadecimal", value)
    return bytes.fromhex(value)


def _items(hint: Hashable, item_hint: Hashable, rule: Items) -> _Part:
    item, check = _part(item_hint), part_to_value(hint)

    def read(values: object) -> object:
        if type(values) is not list:
            raise mismatch(f"{rule.minimum} to {rule.maximum} items", values)
        results = tuple(walk_items(rule, values, item.read))
        check(results)
        return results

    return _Part(lambda values: cast("list[Json]", walk_items(rule, values, item.write)), read)


def _union(options: tuple[Hashable, ...]) -> _Part:
    others = tuple(option for option in options if option is not NOTHING)
    if len(others) < len(options):
        inner = _part(others[0]) if len(others) == 1 else _union(others)
        return _Part(
            lambda value: None if value is None else inner.write(value),
            lambda value: None if value is None else inner.read(value),
        )
    classes = classes_by_tag(options)
    expected = f"one of {', '.join(classes)}"

    def write(record: object) -> Json:
        record_class = classes.get(getattr(record, "TAG", ""))
        if record_class is None or type(record) is not record_class:
            raise mismatch(expected, record)
        return _layout(cast(Hashable, record_class)).write(record)

    def read(value: object) -> object:
        tag = value.get("type") if isinstance(value, dict) else None
        if type(tag) is not str or tag not in classes:
            raise mismatch(expected, value)
        return _layout(classes[tag]).read(value)

    return _Part(write, read)
