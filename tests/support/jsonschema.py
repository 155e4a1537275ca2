"""As much of JSON Schema as our descriptions use: what a value has against a schema, by its place."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
KNOWN: Final = frozenset(
    {
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "enum",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
    }
)


def faults(
    schema: Mapping[str, Any], value: object, document: Mapping[str, Any], where: str = ""
) -> Iterator[str]:
    """Yield what does not fit. `document` is what references start from."""
    assert set(schema) <= KNOWN, f"{where}: {sorted(set(schema) - KNOWN)}"
    if "$ref" in schema:
        yield from faults(resolve(document, schema["$ref"]), value, document, where)
    if "anyOf" in schema and all([*faults(each, value, document, where)] for each in schema["anyOf"]):
        yield f"{where}: none of {len(schema['anyOf'])}"
    if "const" in schema and value != schema["const"]:
        yield f"{where}: not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: not one of {schema['enum']}"
    if "type" in schema and type(value) not in KINDS[schema["type"]]:
        yield f"{where}: not {schema['type']}"
        return
    match value:
        case bool():
            pass
        case int():
            if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
                yield f"{where}: {value} is out of bounds"
        case str():
            if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
                yield f"{where}: {len(value)} characters"
            if "pattern" in schema and not re.search(schema["pattern"], value):
                yield f"{where}: {value!r} is not like {schema['pattern']}"
        case list():
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
                yield f"{where}: {len(value)} items"
            for index, item in enumerate(value):
                yield from faults(schema.get("items", {}), item, document, f"{where}[{index}]")
        case dict():
            properties = schema.get("properties", {})
            for name in set(schema.get("required", ())) - set(value):
                yield f"{where}: without {name}"
            if schema.get("additionalProperties", True) is False:
                for name in set(value) - set(properties):
                    yield f"{where}: also {name}"
            for name in set(value) & set(properties):
                yield from faults(properties[name], value[name], document, f"{where}.{name}")


def resolve(document: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    """Return what a reference leads to."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    assert isinstance(found, dict)
    return found
