"""The array form of a record, walked over part by part.

Rule 1: every part is checked in both directions against its shape, and what does not fit is named by its place.
Rule 2: this walk decides what fits. Faster code may answer before it, and is held to it
(`ledger.encoding.recordcode`).
"""

import dataclasses
import re
import types
from collections.abc import Callable, Hashable
from functools import cache
from itertools import pairwise
from typing import Annotated, Protocol, Union, cast, get_args, get_origin

from ledger.encoding.codec import ARRAY_ITEMS_MAX, Value, check_text
from ledger.encoding.shapes import (
    NOTHING,
    Code,
    Identifier,
    Items,
    Octets,
    R,
    Record,
    Text,
    Uint,
    hints_of,
    tag_of,
)
from ledger.errors import EncodingError


class _Tagged(Protocol):
    TAG: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    write: Callable[[object], Value]
    read: Callable[[object], object]


def walk_to_value(record: Record) -> Value:
    """Return the array form of a record. Raises EncodingError, which says where."""
    return _layout(type(record)).write(record)


def walk_from_value(shape: type[R], value: Value) -> R:
    """Return the record of `shape` from its array form. Raises EncodingError, which says where."""
    return cast(R, _layout(shape).read(value))


def walk_union_from_value(shape: Hashable, value: Value) -> object:
    """Return the tagged record of the union `shape` from its array form. Raises EncodingError, which says where."""
    return _part(shape).read(value)


def part_to_value(shape: Hashable) -> Callable[[object], Value]:
    """Return the function that writes one part of a record, of any shape. It raises EncodingError."""
    return _part(shape).write


def part_from_value(shape: Hashable) -> Callable[[object], object]:
    """Return the function that reads one part of a record, of any shape. It raises EncodingError."""
    return _part(shape).read


def mismatch(expected: str, found: object) -> EncodingError:
    """Return the error for a part that is something else, whose place is not known yet."""
    return EncodingError(where="", expected=expected, found=_describe(found))


def within(name: str, error: EncodingError) -> EncodingError:
    """Return an error with the name of what its place is in."""
    where = (
        name if not error.where else name + error.where if error.where[0] == "[" else f"{name}.{error.where}"
    )
    return EncodingError(where=where, expected=error.expected, found=error.found, code=error.code)


def walk_items(rule: Items, values: object, convert: Callable[[object], object]) -> list[object]:
    """Return each item converted. Raises EncodingError where there are too few, too many, or one does not fit."""
    sequence = cast("list[object]", values)
    if type(values) not in (tuple, list) or not rule.minimum <= len(sequence) <= rule.maximum:
        raise mismatch(_count_of(rule), values)
    results: list[object] = []
    try:
        for value in sequence:
            # Not a comprehension: where one fails, how many came before it says which it was.
            results.append(convert(value))  # noqa: PERF401
    except EncodingError as error:
        raise within(f"[{len(results)}]", error) from None
    return results


def _describe(found: object) -> str:
    if isinstance(found, bytes):
        return f"{len(found)} bytes"
    if isinstance(found, tuple | list):
        return f"an array of {len(found)}"
    return f"{ascii(found)[:60]}"


@cache
def _layout(shape: Hashable) -> _Part:
    record_class = cast(type, shape)
    tag = tag_of(record_class)
    name = tag or record_class.__name__
    parts = [(field_name, _part(hint)) for field_name, hint in hints_of(record_class).items()]
    size = len(parts) + (tag is not None)
    names = [field_name for field_name, _ in parts]
    readers = [part.read for _, part in parts]
    writers = [(field_name, part.write) for field_name, part in parts]

    def write(record: object) -> Value:
        if type(record) is not record_class:
            raise mismatch(name, record)
        items: list[Value] = [] if tag is None else [tag]
        field_name = ""
        try:
            for field_name, write_part in writers:
                items.append(write_part(getattr(record, field_name)))
        except EncodingError as error:
            raise within(f"{name}.{field_name}" if not error.where else field_name, error) from None
        return tuple(items)

    def read(value: object) -> object:
        if type(value) is not tuple or len(value) != size:
            raise mismatch(f"{name}, an array of {size}", value)
        if tag is not None and value[0] != tag:
            raise mismatch(f"the tag {tag!r}", value[0])
        arguments: list[object] = []
        try:
            for read_part, item in zip(readers, value if tag is None else value[1:], strict=True):
                arguments.append(read_part(item))
        except EncodingError as error:
            raise within(names[len(arguments)], error) from None
        return record_class(*arguments)

    return _Part(write, read)


@cache
def _part(hint: Hashable) -> _Part:
    if get_origin(hint) is Annotated:
        base, rule = get_args(hint)
        if isinstance(rule, Items):
            return _items(get_args(base)[0], rule)
        check = plain_check(rule)
        return _Part(check, check)
    if get_origin(hint) in (Union, types.UnionType):
        return _union(get_args(hint))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _layout(hint)
    raise TypeError(f"a record field needs a rule: {hint!r}")


def plain_check(rule: object) -> Callable[[object], Value]:
    """Return the function that returns a value which a rule allows, as it is, and raises EncodingError for others."""
    match rule:
        case Uint():
            return _uint_check(rule)
        case Octets():
            return _octets_check(rule)
        case Identifier():
            return _identifier_check(rule)
        case Code():
            return _code_check(rule)
        case Text():
            return _text_check(rule)
        case _:
            raise TypeError(f"unknown field rule {rule!r}")


def _uint_check(rule: Uint) -> Callable[[object], Value]:
    minimum, maximum = rule.minimum, rule.maximum
    expected = f"an integer from {minimum} to {maximum}"

    def check(value: object) -> Value:
        if type(value) is not int or not minimum <= value <= maximum:
            raise mismatch(expected, value)
        return value

    return check


def _octets_check(rule: Octets) -> Callable[[object], Value]:
    minimum, maximum = rule.minimum, rule.maximum
    expected = f"{minimum} bytes" if minimum == maximum else f"{minimum} to {maximum} bytes"

    def check(value: object) -> Value:
        if type(value) is not bytes or not minimum <= len(value) <= maximum:
            raise mismatch(expected, value)
        return value

    return check


def _identifier_check(rule: Identifier) -> Callable[[object], Value]:
    matches = re.compile(rule.pattern, re.ASCII).fullmatch
    size_max = rule.size_max
    expected = f"a {rule.names} identifier of 1 to {size_max} characters like {rule.pattern}"

    def check(value: object) -> Value:
        if type(value) is not str or len(value) > size_max or not matches(value):
            raise mismatch(expected, value)
        return value

    return check


def _code_check(rule: Code) -> Callable[[object], Value]:
    allowed = frozenset(rule.allowed)

    def check(value: object) -> Value:
        if type(value) is not str or value not in allowed:
            raise mismatch(f"one of {', '.join(rule.allowed)}", value)
        return value

    return check


def _text_check(rule: Text) -> Callable[[object], Value]:
    def check(value: object) -> Value:
        if type(value) is not str or not 1 <= len(value.encode("utf-8", "replace")) <= rule.size_max:
            raise mismatch(f"text of 1 to {rule.size_max} bytes", value)
        check_text(value)
        return value

    return check


def _count_of(rule: Items) -> str:
    return f"{rule.minimum} to {rule.maximum} items"


def _items(item_hint: Hashable, rule: Items) -> _Part:
    item = _part(item_hint)
    assert rule.maximum <= ARRAY_ITEMS_MAX, "no shape is wider than the codec"

    def check_order(values: tuple[Value, ...]) -> None:
        items = cast("tuple[bytes, ...]", values)
        if rule.increasing and any(low >= high for low, high in pairwise(items)):
            raise EncodingError(
                where="", expected="items in strictly increasing order", found="repeated or unordered items"
            )

    def write(values: object) -> Value:
        if type(values) is not tuple:
            raise mismatch(_count_of(rule), values)
        encoded = tuple(cast("list[Value]", walk_items(rule, values, item.write)))
        check_order(encoded)
        return encoded

    def read(values: object) -> object:
        if type(values) is not tuple:
            raise mismatch(_count_of(rule), values)
        results = tuple(walk_items(rule, values, item.read))
        check_order(values)
        return results

    return _Part(write, read)


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

    def write(record: object) -> Value:
        record_class = classes.get(getattr(record, "TAG", ""))
        if record_class is None or type(record) is not record_class:
            raise mismatch(expected, record)
        return _layout(cast(Hashable, record_class)).write(record)

    def read(value: object) -> object:
        tag = value[0] if type(value) is tuple and value else None
        if type(tag) is not str or tag not in classes:
            raise mismatch(expected, value)
        return _layout(classes[tag]).read(value)

    return _Part(write, read)


def classes_by_tag(options: tuple[Hashable, ...]) -> dict[str, type]:
    """Return the record classes of a union by the tag that each of them has."""
    return {cast(_Tagged, option).TAG: cast(type, option) for option in options}
