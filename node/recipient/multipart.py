"""Multipart forms (RFC 7578) as they come: strict, in constant memory.

Rule 1: one form has one reading. Bytes before the first part and after the last, part headers past HEAD_SIZE_MAX
and a disposition that is not `form-data` with one name are refused.
Rule 2: no more of a part is held than one read of the connection and one delimiter.
Rule 3: a connection that is silent for `stall_s` ends the reading with TimeoutError.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message
from typing import Final, Protocol

READ_SIZE: Final = 256 * 1024
HEAD_SIZE_MAX: Final = 4_096

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_PARAMETER: Final = re.compile(
    rb'[ \t]*;[ \t]*([!#$%&\x27*+.^_`|~0-9A-Za-z-]+)=(?:"([^"\r\n]*)"|([!#$%&\x27*+.^_`|~0-9A-Za-z-]+))'
)


class FormError(ValueError):
    """Bytes that are no form: what was expected instead."""


class Source(Protocol):
    """Where the bytes come from."""

    async def read(self, n: int = -1, /) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class PartHead:
    """The headers of a part, and the name that they give it."""

    name: str
    fields: dict[str, str]


class FormReader:
    """Reads the parts of a form in order: `next_part`, then its `pieces` to their end, and again."""

    def __init__(self, source: Source, content_type: str, *, stall_s: float) -> None:
        """Take the value of the header Content-Type. Raises FormError where it names no boundary."""
        boundary = _boundary_of(content_type)
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._source = source
        self._stall_s = stall_s
        # The first delimiter has no line before it.
        self._buffer = bytearray(b"\r\n")
        self._is_begun = False

    async def next_part(self) -> PartHead | None:
        """Return the head of the next part; None after the last. Raises FormError or TimeoutError."""
        if not self._is_begun:
            await self._take(self._delimiter, "the first boundary")
            self._is_begun = True
        await self._hold(2)
        if self._buffer[:2] == b"--":
            await self._finish()
            return None
        await self._take(b"\r\n", "the end of a boundary's line")
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_SIZE_MAX:
                raise FormError(f"part headers of at most {HEAD_SIZE_MAX} bytes")
            await self._fill()
        if end > HEAD_SIZE_MAX:
            raise FormError(f"part headers of at most {HEAD_SIZE_MAX} bytes")
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return _parse_head(head)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the content of a part. Raises FormError or TimeoutError."""
        while (end := self._buffer.find(self._delimiter)) < 0:
            safe = len(self._buffer) - len(self._delimiter) + 1
            if safe > 0:
                yield bytes(self._buffer[:safe])
                del self._buffer[:safe]
            await self._fill()
        if end:
            yield bytes(self._buffer[:end])
        del self._buffer[: end + len(self._delimiter)]

    async def _finish(self) -> None:
        del self._buffer[:2]
        while len(self._buffer) <= 2 and await self._fill(is_end_allowed=True):
            pass
        if bytes(self._buffer) not in (b"", b"\r\n"):
            raise FormError("nothing after the last boundary")

    async def _take(self, expected: bytes, what: str) -> None:
        await self._hold(len(expected))
        if self._buffer[: len(expected)] != expected:
            raise FormError(what)
        del self._buffer[: len(expected)]

    async def _hold(self, size: int) -> None:
        while len(self._buffer) < size:
            await self._fill()

    async def _fill(self, *, is_end_allowed: bool = False) -> bool:
        async with asyncio.timeout(self._stall_s):
            piece = await self._source.read(READ_SIZE)
        if not piece and not is_end_allowed:
            raise FormError("a whole form")
        self._buffer += piece
        return bool(piece)


def _boundary_of(content_type: str) -> str:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if boundary is None or not _BOUNDARY.fullmatch(boundary):
        raise FormError("a boundary of 1 to 70 characters")
    return boundary


def _parse_head(head: bytes) -> PartHead:
    fields: dict[str, str] = {}
    for line in head.split(b"\r\n"):
        match = _FIELD.fullmatch(line)
        if match is None:
            raise FormError("part headers as RFC 9112 has them")
        name = match[1].decode("ascii").lower()
        if name in fields:
            raise FormError("each part header once")
        fields[name] = match[2].decode("latin-1").rstrip()
    return PartHead(_name_of(fields.get("content-disposition", "")), fields)


def _name_of(disposition: str) -> str:
    kind, parameters = disposition[:9], disposition[9:].encode("latin-1")
    found: dict[bytes, bytes] = {}
    place = 0
    while match := _PARAMETER.match(parameters, place):
        key = match[1].lower()
        if key in found:
            raise FormError("each parameter of a disposition once")
        found[key] = match[3] if match[2] is None else match[2]
        place = match.end()
    if kind.lower() != "form-data" or place != len(parameters) or b"name" not in found:
        raise FormError('a part with Content-Disposition: form-data; name="..."')
    return found[b"name"].decode("latin-1")
