"""The route that serves text bundles, by their hash (docs/texts.md).

Rule 1: what is served under a bundle's own hash never changes, so whoever has it may keep it. What is served for a
notice may be another bundle tomorrow.
Rule 2: a bundle is sent in pieces, as its reader takes them, within SEND_S. Its readers have places of their own,
SENDING_MAX of them: where all are taken the slowest reader goes, and no other route has fewer.
"""

import asyncio
from typing import Final

from aiohttp import web

from node.api.connection import connection_of
from node.api.route import RouteError, require_hash
from node.api.service import NodeService

SENDING_MAX: Final = 32
SEND_S: Final = 30.0
PIECE_SIZE: Final = 64 * 1024
MEDIA_TYPE: Final = "application/octet-stream"

_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FOR_NOW: Final = "no-cache"


class TextBundles:
    """Serves the text bundles of a node."""

    def __init__(self, node: NodeService) -> None:
        self._node = node

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send the bundle of a hash, or one with a notice of that version."""
        wanted = require_hash(request.match_info["hash"], "hash")
        found = self._node.find_texts(wanted)
        if found is None:
            raise RouteError(
                status=404,
                code="unknown",
                where="texts",
                expected="a text bundle of this hash, or with a notice of this version",
                found="none here",
                cure="Ask a node of whoever wrote the texts, or fetch them from there.",
            )
        caching = _FOR_GOOD if found.hash == wanted else _FOR_NOW
        response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": caching})
        response.content_length = len(found.encoded)
        try:
            async with asyncio.timeout(SEND_S):
                await response.prepare(request)
                for place in range(0, len(found.encoded), PIECE_SIZE):
                    await response.write(found.encoded[place : place + PIECE_SIZE])
                await response.write_eof()
        except TimeoutError:
            # What was begun cannot become a refusal.
            connection_of(request).cut_off()
        except ConnectionError:
            # The reader left, or lost its place to another.
            return response
        return response
