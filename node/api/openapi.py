"""The API's description, made from the route table that serves it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ledger.encoding.records import Json
from node.api.route import PartField, Route

VERSION: Final = "1"

_TEXTS: Final = ("code", "where", "expected", "found", "cure")
_ERROR: Final[dict[str, Json]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": list(_TEXTS),
            "properties": {name: {"type": "string"} for name in _TEXTS},
        }
    },
}
_REFUSED: Final[dict[str, Json]] = {"$ref": "#/components/responses/Refused"}


@dataclass(frozen=True, slots=True)
class Described:
    """A route's answer, and the schemas of the parts of its path by name."""

    answer: dict[str, Json]
    path: Mapping[str, Json] = field(default_factory=dict)


def describe(
    routes: Sequence[Route],
    *,
    title: str = "Luohu node",
    schemas: Mapping[str, Json] | None = None,
    described: Mapping[str, Described] | None = None,
) -> dict[str, Json]:
    """Return the OpenAPI 3.1 description of the routes.

    `described` has answers and parts of paths by the name of a route; `schemas` are what answers refer to.
    """
    paths: dict[str, dict[str, Json]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, (described or {}).get(route.name)
        )
    refused: dict[str, Json] = {
        "description": "Refused, or not ready: what was expected and found, and the cure.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": VERSION},
        "paths": {path: dict(operations) for path, operations in paths.items()},
        "components": {"schemas": {"Error": _ERROR, **(schemas or {})}, "responses": {"Refused": refused}},
    }


def _operation(route: Route, described: Described | None) -> dict[str, Json]:
    parts = {} if described is None else described.path
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": parts.get(name, {"type": "string"})}
        for name in route.path_names
    ]
    parameters += [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in (route.query or {}).items()
    ]
    content: dict[str, Json] = {route.media_type: {} if described is None else {"schema": described.answer}}
    operation: dict[str, Json] = {
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            **(route.answers or {"200": {"description": "The answer.", "content": content}}),
            "4XX": _REFUSED,
            "503": _REFUSED,
        },
    }
    if route.body is not None:
        schema: dict[str, Json] = {
            "type": "object",
            "required": list(route.body),
            "properties": {name: dict(field.schema) for name, field in route.body.items()},
            "additionalProperties": False,
        }
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.parts is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": _form(route.parts, route.either)},
        }
    return operation


def _form(parts: Mapping[str, PartField], either: tuple[tuple[str, ...], ...]) -> dict[str, Json]:
    properties: dict[str, Json] = {
        name: {
            "type": "string",
            "description": part.meaning,
            **({"contentMediaType": "application/octet-stream"} if part.is_file else {}),
        }
        for name, part in parts.items()
    }
    schema: dict[str, Json] = {
        "type": "object",
        "required": [name for name, part in parts.items() if part.is_required],
        "properties": properties,
        "additionalProperties": False,
    }
    if either:
        schema["oneOf"] = [{"required": list(names)} for names in either]
    return {"schema": schema}
