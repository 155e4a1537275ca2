"""The API's description, made from the route table that serves it."""

from collections.abc import Sequence
from typing import Final

from ledger.records import Json

_SUMMARIES: Final = {
    ("POST", "/v1/transactions"): "Submit members' signed transactions and wait for them to be final.",
    ("GET", "/v1/transactions/{id}"): "What became of a transaction.",
    ("POST", "/v1/relay"): "Carry one holder's grants and withdrawals.",
    ("POST", "/v1/evidence"): "Evidence for a proof: no document, no opening, no content hash.",
    ("GET", "/v1/state/{key}"): "A leaf of the state with its proof of presence or absence.",
    ("GET", "/v1/members"): "The members that the chain was founded with.",
    ("GET", "/v1/members/{member}"): "A member's record with its proof.",
    ("GET", "/v1/blocks"): "Final blocks from a height on.",
    ("GET", "/v1/blocks/{height}"): "One final block.",
    ("GET", "/v1/genesis"): "The genesis of this node's chain.",
    ("GET", "/v1/status"): "Where the node stands.",
    ("GET", "/v1/health"): "The process is up.",
    ("GET", "/v1/ready"): "The node can serve, or what it waits for (503).",
    ("GET", "/v1/events"): "Final blocks as server-sent events, resumable from a cursor.",
    ("GET", "/v1/openapi.json"): "This description.",
}


def describe(routes: Sequence[tuple[str, str]]) -> dict[str, Json]:
    """Return the OpenAPI 3.1 description of the routes. A route without a summary is our own fault."""
    paths: dict[str, Json] = {}
    for method, path in routes:
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        operation: dict[str, Json] = {
            "summary": _SUMMARIES[(method, path)],
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ],
            "responses": {
                "200": {"description": "The answer."},
                "400": {"description": "Refused: error.code, expected, found, cure."},
                "404": {"description": "Unknown."},
                "503": {"description": "Not ready."},
            },
        }
        if method == "POST":
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        entry = paths.setdefault(path, {})
        assert isinstance(entry, dict), "paths hold objects"
        entry[method.lower()] = operation
    return {"openapi": "3.1.0", "info": {"title": "Luohu node", "version": "1"}, "paths": paths}
