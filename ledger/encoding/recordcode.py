"""The code that reads and writes records fast: where it is found, and what it calls.

Rule 1: this code decides nothing of its own. It passes what the walk of `ledger.encoding.arrayform` passes, with the
same result, and raises Misfit for all else; then the walk is asked, which says where it is wrong.
Rule 2: the code of the records that a module declares is generated from their shapes into a module that is checked in
(`make records`): that of `ledger.rules.blocks` is `ledger.generated.rules_blocks_records`. It is loaded when a record
of it is first asked for, since it imports the record classes. A record for which none was generated is walked over.
"""

import re
import types
from collections.abc import Callable, Hashable, Mapping
from functools import cache, lru_cache
from importlib import import_module
from itertools import islice
from operator import lt
from typing import Final, Union, cast, get_args, get_origin

from ledger.encoding.arrayform import classes_by_tag, part_from_value, part_to_value
from ledger.encoding.codec import Value
from ledger.encoding.shapes import hints_of
from ledger.encoding.textcharacters import find_foreign
from ledger.errors import EncodingError

IDENTIFIERS_CACHED_MAX: Final = 4_096

Convert = Callable[[object], object]

_readers: Final[dict[type, Convert]] = {}
_writers: Final[dict[type, Convert]] = {}


class Misfit(EncodingError):
    """A value that does not fit its shape. The walk says more."""

    def __init__(self) -> None:
        super().__init__(where="", expected="a value that fits its shape", found="another")


@cache
def reader_of(hint: Hashable) -> Convert:
    """Return the function that takes an array form to what it stands for. It raises EncodingError."""
    if get_origin(hint) in (Union, types.UnionType):
        return union_reader({tag: reader_of(each) for tag, each in classes_by_tag(get_args(hint)).items()})
    record_class = cast(type, hint)
    _load_code_of(record_class.__module__)
    return _readers.get(record_class) or part_from_value(hint)


@cache
def writer_of(record_class: type) -> Callable[[object], Value]:
    """Return the function that takes a record to its array form. It raises EncodingError."""
    _load_code_of(record_class.__module__)
    return cast(Callable[[object], Value], _writers.get(record_class) or part_to_value(record_class))


def generated_name(module: str) -> str:
    """Return the name of the module with the code of the records that `module` declares."""
    room, _, name = module.partition(".")
    return f"{room}.generated.{name.replace('.', '_')}_records"


@cache
def _load_code_of(module: str) -> None:
    name = generated_name(module)
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        # What is missing may be something that the code itself imports: that is a fault.
        if error.name is None or not name.startswith(error.name):
            raise


# What generated code calls.

new: Final = object.__new__


def register(record_class: type, read: Convert, write: Convert) -> None:
    """Take the functions of a record class."""
    _readers[record_class], _writers[record_class] = read, write


def setters_of(record_class: type) -> tuple[Callable[[object, object], None], ...]:
    """Return the functions that set each field of a new record, which is frozen for all others."""
    slots = [record_class.__dict__[field] for field in hints_of(record_class)]
    assert all(isinstance(slot, types.MemberDescriptorType) for slot in slots), "records have slots"
    return tuple(slot.__set__ for slot in slots)


def union_reader(readers: Mapping[str, Convert]) -> Convert:
    """Return the function that reads a record by its tag."""

    def read(array: object) -> object:
        if not (type(array) is tuple and array and type(array[0]) is str and array[0] in readers):
            raise Misfit
        return readers[array[0]](array)

    return read


def union_writer(writers: Mapping[type, Convert]) -> Convert:
    """Return the function that writes a record by its class."""

    def write(record: object) -> object:
        if type(record) not in writers:
            raise Misfit
        return writers[type(record)](record)

    return write


@cache
def identifier_check(pattern: str) -> Callable[[str], bool]:
    """Return the function that says whether a text fits. Identifiers are few; callers have bounded their size."""
    matches = re.compile(pattern, re.ASCII).fullmatch
    return lru_cache(IDENTIFIERS_CACHED_MAX)(lambda text: matches(text) is not None)


def is_text(text: str, size_max: int) -> bool:
    """Say whether a text has 1 to `size_max` bytes, of the characters that text may hold."""
    return 1 <= len(text.encode("utf-8", "replace")) <= size_max and find_foreign(text) is None


def is_increasing(items: tuple[object, ...]) -> bool:
    """Say whether each item is above the one before it. Callers have checked that all are of one kind."""
    ordered = cast("tuple[bytes, ...]", items)
    return all(map(lt, ordered, islice(ordered, 1, None)))
