"""What a request may hold, and how a refusal looks (docs/architecture.md, API).

Rule 1: a body is strict JSON of a bounded size with exactly the keys that the door names.
Rule 2: every refusal is {"error": {code, where, expected, found, cure}} with a 4xx or 503 status; nothing that a
client sends makes a 500 or a traceback.
"""

import json
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ledger.errors import EncodingError, LedgerError
from ledger.records import Json, parse_json
from node.mempool import MempoolError
from node.service import NotReady

BODY_SIZE_MAX: Final = 6 * 1024 * 1024
HEX_SIZE_MAX: Final = 2 * 1024 * 1024
WAIT_MS_MAX: Final = 60_000

_CURES: Final = {
    "already-recorded": "Nothing is to be done: the record exists.",
    "expired": "Sign it again with a later valid_until_ms.",
    "wrong-chain": "Sign it for this node's chain; GET /v1/genesis shows it.",
    "unregistered": "Have the member registered by governance.",
    "suspended": "Ask the governors.",
    "signature": "Sign it with the member's current key.",
}
_CURE_OTHERWISE: Final = (
    "Correct what was found and send it again; GET /v1/openapi.json describes every door."
)


def error_json(error: LedgerError | MempoolError) -> dict[str, Json]:
    """Return the JSON form of a refusal."""
    cure = getattr(error, "cure", None) or _CURES.get(error.code, _CURE_OTHERWISE)
    return {
        "code": error.code,
        "where": error.where or "value",
        "expected": error.expected,
        "found": error.found,
        "cure": cure,
    }


def respond(value: Mapping[str, Json], status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.Response(text=json.dumps(value), status=status, content_type="application/json")


def refuse(status: int, code: str, where: str, *, expected: str, found: str, cure: str) -> web.Response:
    """Return a refusal of the door itself."""
    content: dict[str, Json] = {
        "code": code,
        "where": where,
        "expected": expected,
        "found": found,
        "cure": cure,
    }
    return respond({"error": content}, status)


def not_found(where: str, found: str) -> web.Response:
    """Return the refusal for something that is not there."""
    return refuse(
        404,
        "unknown",
        where,
        expected=f"a known {where}",
        found=found[:120],
        cure="Check what you asked for.",
    )


async def read_object(request: web.Request, keys: Mapping[str, type]) -> dict[str, Json]:
    """Return the JSON object of a request, with exactly these keys of these types. Raises EncodingError."""
    if request.content_type != "application/json":
        raise EncodingError("content type", "application/json", ascii(request.content_type)[:80])
    value = parse_json(await request.read(), size_max=BODY_SIZE_MAX)
    if not isinstance(value, dict) or set(value) != set(keys):
        found = ascii(sorted(value))[:120] if isinstance(value, dict) else type(value).__name__
        raise EncodingError("body", f"an object with exactly the keys {sorted(keys)}", found)
    for key, kind in keys.items():
        if type(value[key]) is not kind:
            raise EncodingError(f"body.{key}", kind.__name__, type(value[key]).__name__)
    return value


def require_wait(value: Json) -> int:
    """Return how long to wait, in milliseconds. Raises EncodingError."""
    if type(value) is not int or not 0 <= value <= WAIT_MS_MAX:
        raise EncodingError("body.wait_ms", f"0 to {WAIT_MS_MAX}", f"{value!r}"[:60])
    return value


def require_hex(value: Json, where: str, *, size_max: int = HEX_SIZE_MAX) -> bytes:
    """Return the bytes of lower case hexadecimal. Raises EncodingError."""
    if type(value) is not str or len(value) > 2 * size_max or value != value.lower():
        raise EncodingError(where, f"lower case hexadecimal of at most {size_max} bytes", f"{value!a}"[:60])
    try:
        return bytes.fromhex(value) if " " not in value else _refuse_spaces(where)
    except ValueError as error:
        raise EncodingError(where, "hexadecimal", f"{value!a}"[:60]) from error


def _refuse_spaces(where: str) -> bytes:
    raise EncodingError(where, "hexadecimal without spaces", "spaces")


def require_number(text: str, where: str) -> int:
    """Return a height or count from a path or query. Raises EncodingError."""
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise EncodingError(where, "a number of at most 15 digits", f"{text!a}"[:60])
    return int(text)


@web.middleware
async def answer_refusals(request: web.Request, handler: object) -> web.StreamResponse:
    """Turn every refusal into its JSON answer."""
    try:
        response: web.StreamResponse = await handler(request)  # type: ignore[operator]
        return response
    except (LedgerError, MempoolError) as error:
        return respond({"error": error_json(error)}, 404 if error.code == "unknown" else 400)
    except NotReady as error:
        cure = "Wait a moment; GET /v1/ready says when."
        return refuse(503, "not-ready", "node", expected="a node that is ready", found=f"{error}", cure=cure)
    except web.HTTPRequestEntityTooLarge:
        cure = "Send less at once."
        expected = f"at most {BODY_SIZE_MAX} bytes"
        return refuse(413, "too-large", "body", expected=expected, found="more", cure=cure)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        cure = "Use an allowed method."
        return refuse(405, "method", "method", expected=allowed, found=request.method, cure=cure)
    except web.HTTPNotFound:
        return not_found("path", ascii(request.path))
