"""JSON schemas of records, made of the shapes that check them: what is described and what is served cannot differ.

Rule 1: each record class is one component under its name; unions are told apart by `"type"`.
Rule 2: a schema says what the JSON form (`ledger.encoding.jsonform`) can be. What JSON Schema cannot say (order,
characters, the size of text in bytes) the node still checks.
"""

import dataclasses
import types
from collections.abc import Hashable
from typing import Annotated, Union, cast, get_args, get_origin

from ledger.encoding.records import Json
from ledger.encoding.shapes import NOTHING, Code, Identifier, Items, Octets, Text, Uint, hints_of, tag_of

_NULL: dict[str, Json] = {"type": "null"}


class ShapeSchemas:
    """The components of a description, which grow with every record that is referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Json] = {}
        self._classes: dict[str, type] = {}

    def reference(self, record_class: type) -> dict[str, Json]:
        """Return the reference to a record's schema."""
        name = record_class.__name__
        assert self._classes.setdefault(name, record_class) is record_class, (
            f"{name}: two records of one name"
        )
        if name not in self.components:
            self.components[name] = None  # before its fields: none refers to its own kind for ever
            self.components[name] = self._layout(record_class)
        return {"$ref": f"#/components/schemas/{name}"}

    def _layout(self, record_class: type) -> dict[str, Json]:
        tag = tag_of(record_class)
        properties: dict[str, Json] = {} if tag is None else {"type": {"const": tag}}
        properties |= {name: self.schema_of(hint) for name, hint in hints_of(record_class).items()}
        return closed_object(properties)

    def schema_of(self, hint: Hashable) -> dict[str, Json]:
        """Return the schema of one part of a record."""
        if get_origin(hint) is Annotated:
            base, rule = get_args(hint)
            return self._items(get_args(base)[0], rule) if isinstance(rule, Items) else plain_schema(rule)
        if get_origin(hint) in (Union, types.UnionType):
            return {
                "anyOf": [_NULL if option is NOTHING else self.schema_of(option) for option in get_args(hint)]
            }
        assert dataclasses.is_dataclass(hint), "a record field has a rule"
        return self.reference(cast(type, hint))

    def _items(self, item: Hashable, rule: Items) -> dict[str, Json]:
        bounds: dict[str, Json] = {"minItems": rule.minimum, "maxItems": rule.maximum}
        return {"type": "array", **bounds, "items": self.schema_of(item)}


def plain_schema(rule: object) -> dict[str, Json]:
    """Return the schema of what a rule allows."""
    match rule:
        case Uint():
            return {"type": "integer", "minimum": rule.minimum, "maximum": rule.maximum}
        case Octets():
            return hexadecimal(rule.minimum, rule.maximum)
        case Identifier():
            return {"type": "string", "pattern": f"^{rule.pattern}$", "maxLength": rule.size_max}
        case Code():
            return {"type": "string", "enum": list(rule.allowed)}
        case Text():
            return {"type": "string", "minLength": 1, "maxLength": rule.size_max}
        case _:
            raise TypeError(f"unknown field rule {rule!r}")


def hexadecimal(size_min: int, size_max: int | None = None) -> dict[str, Json]:
    """Return the schema of byte strings; sizes in bytes, None: no limit of its own."""
    sizes: dict[str, Json] = {"minLength": 2 * size_min}
    if size_max is not None:
        sizes["maxLength"] = 2 * size_max
    return {"type": "string", "pattern": "^([0-9a-f]{2})*$", **sizes}


def closed_object(properties: dict[str, Json]) -> dict[str, Json]:
    """Return the schema of an object with exactly these keys."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def optional(schema: dict[str, Json]) -> dict[str, Json]:
    """Return the schema of something that may be null."""
    return {"anyOf": [schema, _NULL]}


def array_of(schema: dict[str, Json]) -> dict[str, Json]:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}
