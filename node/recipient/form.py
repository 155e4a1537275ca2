"""Reading a multipart form whose document may be of any size, in constant memory.

Rule 1: a form holds only the parts that its route names, each at most once, those that are required all of them.
Rule 2: the document is hashed as it comes and never held; every other part has a size that is read and no more.
Rule 3: a client that sends nothing for STALL_S is refused, and so is one that falls as far behind the least rate. The
whole form has FORM_S.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.streams import StreamReader

from ledger.trees.merkle import Content, ContentHasher
from node.api.route import PartField, RouteError
from node.recipient.forms import UNPACK_S, FormPlace, Forms, displaced
from node.recipient.multipart import FormError, FormReader, PartHead
from node.recipient.presented import DOCUMENT_PART, InsideDocument

STALL_S: Final = 20.0
FORM_S: Final = 900.0

# What a part may say of its own transfer: nothing that would have to be undone.
_PLAIN_TRANSFER: Final = frozenset({"binary", "8bit", "7bit"})
_CURE: Final = "Send multipart/form-data as GET /v1/openapi.json describes it."


@dataclass(frozen=True, slots=True)
class Form:
    """The document's content, where the route takes one, and the other parts by name.

    `inside` says what document that is, where it came in a bundle.
    """

    document: Content | None
    parts: Mapping[str, bytes]
    inside: InsideDocument | None = None


@asynccontextmanager
async def place_for_form(forms: Forms, request: web.Request) -> AsyncIterator[FormPlace]:
    """Have a place for a form while it is read and unpacked. Raises RouteError where it is late or loses its place."""
    place: FormPlace | None = None
    try:
        async with forms.place(request, whole_s=FORM_S, stall_s=STALL_S) as place:
            yield place
    except TimeoutError as error:
        if place is not None and place.reading.is_displaced:
            raise displaced() from error
        expected = f"bytes every {STALL_S:.0f} s, all in {FORM_S:.0f} s and unpacked in {UNPACK_S:.0f} s"
        raise _fault(408, "timeout", "body", expected, "fewer") from error


async def read_form(request: web.Request, shape: Mapping[str, PartField], place: FormPlace) -> Form:
    """Return the form of a request, which has a place. Raises RouteError, or TimeoutError where it stands still."""
    if request.content_type != "multipart/form-data":
        found = ascii(request.content_type)[:80]
        raise _fault(415, "media-type", "content type", "multipart/form-data", found)
    if hdrs.CONTENT_ENCODING in request.headers:
        found = ascii(request.headers[hdrs.CONTENT_ENCODING])[:80]
        raise _fault(415, "media-type", "content encoding", "none", found)
    try:
        source, content_type = _Placed(request.content, place), request.headers[hdrs.CONTENT_TYPE]
        return await _read_parts(FormReader(source, content_type, stall_s=STALL_S), shape, place)
    except (web.RequestPayloadError, ConnectionError) as error:
        raise _fault(400, "encoding", "body", "a whole body", "a broken one") from error
    except FormError as error:
        raise _fault(400, "encoding", "body", f"{error}", "something else") from error


class _Placed:
    """A form's bytes, of which its place is told."""

    def __init__(self, content: StreamReader, place: FormPlace) -> None:
        self._content = content
        self._place = place

    async def read(self, n: int = -1, /) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        piece = await self._content.read(n)
        await self._place.took(len(piece))
        return piece


async def _read_parts(reader: FormReader, shape: Mapping[str, PartField], place: FormPlace) -> Form:
    found: dict[str, bytes] = {}
    document: Content | None = None
    while (head := await reader.next_part()) is not None:
        name = head.name
        _check_head(head, shape)
        if name in found or (name == DOCUMENT_PART and document is not None):
            raise _fault(400, "encoding", name, "each part once", "it twice")
        if name == DOCUMENT_PART:
            document = await _hash_part(reader, shape[name])
        else:
            found[name] = await _read_part(reader, name, shape[name], place)
    present = {*found, *([] if document is None else [DOCUMENT_PART])}
    missing = [name for name, field in shape.items() if field.is_required and name not in present]
    if missing:
        raise _fault(400, "encoding", "body", f"the parts {', '.join(missing)} too", "none of that name")
    return Form(document, found)


def _check_head(head: PartHead, shape: Mapping[str, PartField]) -> None:
    if head.name not in shape:
        raise _fault(400, "encoding", "body", f"only the parts {', '.join(shape)}", ascii(head.name)[:80])
    transfer = head.fields.get("content-transfer-encoding", "binary").lower()
    if transfer not in _PLAIN_TRANSFER or "content-encoding" in head.fields:
        raise _fault(415, "media-type", head.name, "its bytes as they are", "an encoding of them")


async def _hash_part(reader: FormReader, field: PartField) -> Content:
    hasher = ContentHasher()
    async for piece in reader.pieces():
        hasher.update(piece)
        if hasher.size > field.size_max:
            raise _too_large(DOCUMENT_PART, field)
    return hasher.finish()


async def _read_part(reader: FormReader, name: str, field: PartField, place: FormPlace) -> bytes:
    content = bytearray()
    async for piece in reader.pieces():
        content += piece
        if len(content) > field.size_max:
            raise _too_large(name, field)
        place.hold(len(piece))
    return bytes(content)


def _too_large(name: str, field: PartField) -> RouteError:
    return _fault(413, "too-large", name, f"at most {field.size_max} bytes", "more")


def _fault(status: int, code: str, where: str, expected: str, found: str) -> RouteError:
    return RouteError(status=status, code=code, where=where, expected=expected, found=found, cure=_CURE)
