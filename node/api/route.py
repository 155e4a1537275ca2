"""What a request may hold, and how a refusal looks (docs/stability.md, The HTTP API).

Rule 1: a body is strict JSON of a bounded size, whole within a bounded time, with exactly the keys that the
route names. A query holds only what the route names, each once.
Rule 2: every refusal is {"error": {code, where, expected, found, cure}} with a 4xx or 503 status; nothing that a
client sends makes a 500 or a traceback.
Rule 3: codes are stable, and what a refusal repeats of a request is bounded.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from ledger.encoding.records import Json, parse_json
from ledger.errors import EncodingError, LuohuError
from node.api.pace import Reading
from node.api.turns import Turns
from node.errors import NodeError
from node.visibletext import ascii_json

BODY_SIZE_MAX: Final = 6 * 1024 * 1024
BODY_VALUES_MAX: Final = 20_000
HEX_SIZE_MAX: Final = 2 * 1024 * 1024
WAIT_MS_MAX: Final = 60_000
BODY_S: Final = 10.0
BODY_STALL_S: Final = 5.0
REPEATED_SIZE_MAX: Final = 300
DIGITS_MAX: Final = 15

_NUMBER: Final = re.compile(rf"0|[1-9][0-9]{{0,{DIGITS_MAX - 1}}}", re.ASCII)
_CURES: Final = {
    "already-recorded": "Nothing is to be done: the record exists.",
    "expired": "Sign it again with a later valid_until_ms.",
    "wrong-chain": "Sign it for this node's chain; GET /v1/genesis shows it.",
    "unregistered": "Have the member registered by governance.",
    "suspended": "Ask the governors.",
    "signature": "Sign it with the member's current key.",
    "unknown": "Check what you asked for, and that this is the right network.",
}
_CURE_OTHERWISE: Final = (
    "Correct what was found and send it again; GET /v1/openapi.json describes every route."
)

CODE: Final = web.ResponseKey("code", str)
"""The code of a refusal, kept beside its response for the metrics."""

PARSING: Final = web.AppKey("parsing", Turns)
"""Large bodies are parsed one at a time."""


class Body(Protocol):
    """The body of a request that is read."""

    @property
    def reading(self) -> Reading: ...

    @property
    def room_size(self) -> int:
        """How much room it has, in bytes; 0 where it is small."""
        ...

    async def took(self, size: int) -> None:
        """Take note that so many bytes came. Raises RouteError where there is no room for more."""
        ...


BODY: Final = web.RequestKey("body", Body)
"""The body of a request whose route takes one."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RouteError(NodeError):
    """A refusal of the route itself, before the node is asked."""

    def __init__(self, *, status: int, code: str, where: str, expected: str, found: str, cure: str) -> None:
        super().__init__(code=code, where=where, expected=expected, found=found, cure=cure)
        self.status = status


@dataclass(frozen=True, slots=True)
class BodyField:
    """One key of a body: its Python type, and its JSON schema for the description."""

    kind: type
    schema: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class PartField:
    """One part of a multipart body: what it means, its largest size in bytes, and what it may be."""

    meaning: str
    size_max: int
    is_required: bool = True
    is_file: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """One route: what it answers, and all that a request to it may hold.

    `answers` describes its answers by status, where it says more than that there is one. `either` names parts of which
    one group comes whole and the others not at all. One that `is_kept` is answered however many requests are under way.
    `places_max` says how many of its requests may be under way, where that is not as for others.
    """

    method: str
    path: str
    summary: str
    answer: Answer
    body: Mapping[str, BodyField] | None = None
    parts: Mapping[str, PartField] | None = None
    either: tuple[tuple[str, ...], ...] = ()
    answers: Mapping[str, Json] | None = None
    query: Mapping[str, str] | None = None
    media_type: str = "application/json"
    is_stream: bool = False
    is_kept: bool = False
    places_max: int | None = None

    @property
    def name(self) -> str:
        """How metrics call it."""
        return f"{self.method} {self.path}"

    @property
    def path_names(self) -> tuple[str, ...]:
        """The names of the parts of its path that vary."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    def check_query(self, request: web.Request) -> None:
        """Check that a request's query holds only what this route names, each once. Raises EncodingError."""
        allowed = self.query or {}
        found = [key for key, _ in request.query.items()]
        if len(set(found)) != len(found) or not set(found) <= set(allowed):
            expected = f"each of {sorted(allowed)} at most once" if allowed else "none"
            raise EncodingError(where="query", expected=expected, found=ascii(sorted(found))[:80])


def error_json(error: LuohuError) -> dict[str, Json]:
    """Return the JSON form of a refusal."""
    cure = error.cure or _CURES.get(error.code, _CURE_OTHERWISE)
    return {
        "code": error.code,
        "where": error.where[:REPEATED_SIZE_MAX] or "value",
        "expected": error.expected[:REPEATED_SIZE_MAX],
        "found": error.found[:REPEATED_SIZE_MAX],
        "cure": cure,
    }


def respond(value: Mapping[str, Json], status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.Response(text=ascii_json(value), status=status, content_type="application/json")


def refuse(status: int, code: str, where: str, *, expected: str, found: str, cure: str) -> web.Response:
    """Return a refusal of the route itself."""
    error = RouteError(status=status, code=code, where=where, expected=expected, found=found, cure=cure)
    return refusal(error, status)


def refusal(error: LuohuError, status: int) -> web.Response:
    """Return a refusal as its JSON answer; its code is kept for the metrics."""
    response = respond({"error": error_json(error)}, status)
    response[CODE] = error.code
    return response


def not_found(where: str, found: str) -> RouteError:
    """Return the refusal for something that is not there."""
    return RouteError(
        status=404,
        code="unknown",
        where=where,
        expected=f"a known {where}",
        found=found[:120],
        cure=_CURES["unknown"],
    )


async def read_object(request: web.Request, shape: Mapping[str, BodyField]) -> dict[str, Json]:
    """Return the JSON object of a request, with exactly these keys. Raises EncodingError or RouteError."""
    content = await _read_body(request)
    _check_count(content)
    async with request.app[PARSING].turn():
        value = parse_json(content, size_max=BODY_SIZE_MAX)
    if not isinstance(value, dict) or set(value) != set(shape):
        found = ascii(sorted(value))[:120] if isinstance(value, dict) else type(value).__name__
        raise EncodingError(
            where="body", expected=f"an object with exactly the keys {sorted(shape)}", found=found
        )
    for key, field in shape.items():
        if type(value[key]) is not field.kind:
            raise EncodingError(
                where=f"body.{key}", expected=field.kind.__name__, found=type(value[key]).__name__
            )
    return value


async def _read_body(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        cure = "Send the header Content-Type: application/json."
        found = ascii(request.content_type)[:80]
        raise RouteError(
            status=415,
            code="media-type",
            where="content type",
            expected="application/json",
            found=found,
            cure=cure,
        )
    if "Content-Encoding" in request.headers:
        cure = "Send it as it is, without compression."
        found = ascii(request.headers["Content-Encoding"])[:80]
        raise RouteError(
            status=415, code="media-type", where="content encoding", expected="none", found=found, cure=cure
        )
    if (request.content_length or 0) > BODY_SIZE_MAX:
        raise too_large(f"{request.content_length} bytes")
    body, content = request[BODY], bytearray()
    try:
        async with body.reading.limits():
            async for piece in request.content.iter_any():
                content += piece
                if len(content) > BODY_SIZE_MAX:
                    raise too_large("more")
                await body.took(len(piece))
        body.reading.is_whole = True
        return bytes(content)
    except TimeoutError as error:
        if body.reading.is_displaced:
            expected, cure = "room for all large requests at once", "Send it at once, or come again later."
            raise RouteError(
                status=503, code="busy", where="body", expected=expected, found="faster ones", cure=cure
            ) from error
        cure = "Send the whole body at once."
        raise RouteError(
            status=408,
            code="timeout",
            where="body",
            expected=f"all of it within {BODY_S:.0f} s, without a pause of {BODY_STALL_S:.0f} s",
            found="less",
            cure=cure,
        ) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        cure = "Send as many bytes as the headers announce."
        raise RouteError(
            status=400,
            code="encoding",
            where="body",
            expected="a whole body",
            found="a broken one",
            cure=cure,
        ) from error


def _check_count(content: bytes) -> None:
    """Check that a body holds no more values than any route takes, before memory is spent on them."""
    count = content.count(b",") + content.count(b"[") + content.count(b"{")
    if count > BODY_VALUES_MAX:
        raise EncodingError(where="body", expected=f"at most {BODY_VALUES_MAX} values", found=f"{count}")


def too_large(found: str) -> RouteError:
    """Return the refusal of a body past the limit."""
    expected = f"at most {BODY_SIZE_MAX} bytes"
    return RouteError(
        status=413, code="too-large", where="body", expected=expected, found=found, cure="Send less at once."
    )


def require_wait(value: Json) -> int:
    """Return how long to wait, in milliseconds. Raises EncodingError."""
    if type(value) is not int or not 0 <= value <= WAIT_MS_MAX:
        raise EncodingError(where="body.wait_ms", expected=f"0 to {WAIT_MS_MAX}", found=f"{value!r}"[:60])
    return value


def require_hex_list(value: Json, where: str, *, count_max: int) -> list[bytes]:
    """Return the byte strings of a list of hexadecimal. Raises EncodingError."""
    if not isinstance(value, list) or not 1 <= len(value) <= count_max:
        found = f"{len(value)}" if isinstance(value, list) else type(value).__name__
        raise EncodingError(where=where, expected=f"1 to {count_max} of them", found=found)
    return [require_hex(each, f"{where}[{index}]") for index, each in enumerate(value)]


def require_hex(value: Json, where: str, *, size_max: int = HEX_SIZE_MAX) -> bytes:
    """Return the bytes of lower case hexadecimal. Raises EncodingError."""
    expected = f"lower case hexadecimal of at most {size_max} bytes"
    if type(value) is not str or len(value) > 2 * size_max:
        raise EncodingError(where=where, expected=expected, found=f"{value!a:.60}")
    try:
        found = bytes.fromhex(value)
    except ValueError as error:
        raise EncodingError(where=where, expected=expected, found=f"{value[:60]!a}") from error
    # fromhex takes capitals and spaces as well. A pattern would cost half a second for the largest text.
    if found.hex() != value:
        raise EncodingError(where=where, expected=expected, found=f"{value[:60]!a}")
    return found


def require_hash(value: Json, where: str) -> bytes:
    """Return 32 bytes of lower case hexadecimal. Raises EncodingError."""
    found = require_hex(value, where, size_max=32)
    if len(found) != 32:
        raise EncodingError(where=where, expected="32 bytes", found=f"{len(found)} bytes")
    return found


def require_number(text: str, where: str) -> int:
    """Return a height or count from a path or query. Raises EncodingError."""
    if not _NUMBER.fullmatch(text):
        raise EncodingError(
            where=where,
            expected=f"a number of at most {DIGITS_MAX} digits, without zeros before it",
            found=f"{text!a:.60}",
        )
    return int(text)
