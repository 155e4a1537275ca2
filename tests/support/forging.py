"""Records with fields of any kind, right and wrong."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def with_fields(record: R, **changes: object) -> R:
    """Return a record with some fields changed, to whatever a test names: `replace` demands what is right."""
    untyped: dict[str, Any] = dict(changes)
    return replace(record, **untyped)
