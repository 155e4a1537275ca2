"""Shapes: the rules that a record's annotations are made of (`ledger.encoding.records`)."""

import dataclasses
from collections.abc import Hashable
from functools import cache
from typing import ClassVar, Final, Protocol, TypeVar, get_type_hints

from ledger.encoding.codec import INTEGER_MAX


@dataclasses.dataclass(frozen=True, slots=True)
class Uint:
    """An integer from `minimum` to `maximum`."""

    maximum: int = INTEGER_MAX
    minimum: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Octets:
    """A byte string of `minimum` to `maximum` bytes."""

    minimum: int
    maximum: int


@dataclasses.dataclass(frozen=True, slots=True)
class Identifier:
    """An ASCII identifier: what it names, 1 to `size_max` characters of `pattern`."""

    names: str
    size_max: int = 64
    pattern: str = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"


@dataclasses.dataclass(frozen=True, slots=True)
class Code:
    """One of a closed set of identifiers."""

    allowed: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 text of 1 to `size_max` bytes. On the ledger members' names only: see the tests on operations."""

    size_max: int


@dataclasses.dataclass(frozen=True, slots=True)
class Items:
    """How many items an array holds, and whether they must strictly increase."""

    maximum: int
    minimum: int = 0
    increasing: bool = False


class Record(Protocol):
    """Any record class."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


R = TypeVar("R", bound=Record)

NOTHING: Final[object] = type(None)


@cache
def hints_of(record_class: type) -> dict[str, Hashable]:
    """Return the annotated type of each field, in order."""
    hints = get_type_hints(record_class, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(record_class)}


def tag_of(record_class: type) -> str | None:
    """Return the identifier that the array form of a class puts first, if it does."""
    tag: str | None = getattr(record_class, "TAG", None)
    return tag
