"""`luohu verify serve`: the verifier on loopback, for systems in other languages (docs/verifying.md, The service).

Rule 1: it listens on loopback only, and refuses a Host of another name and every request of a web page (one with
an Origin): what it reads is not for others, and it has no credentials to tell callers apart.
Rule 2: 200 is given to a document that verified, to nothing else. A refused one is 422 with its reason, so that a
caller who reads the status alone is not deceived; 4xx with `error` is a fault of the call.
Rule 3: a document is hashed as it comes: memory does not grow with it. Forms at once are bounded, and the slowest gives
its place to one more (`node/recipient/forms.py`).
Rule 4: the parts of a form say by their names which is the proof (`node.recipient.presented`). An answer to a bundle
says what document is inside.
Rule 5: the trusted root is the one read at the start or at the last SIGHUP that brought a good one: of this chain,
agreeing with the one in use, and not older (ledger/trust.py, rule 8).
Rule 6: nothing is remembered. The caller accepts each nonce once.
"""

import asyncio
import io
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from aiohttp import hdrs, web

from ledger.bundles import open_bundle
from ledger.encoding.arguments import MILLISECONDS_MAX
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.proofs import PROOF_FILE_SIZE_MAX, PROOF_SIZE_MAX
from ledger.requests import REQUEST_FILE_SIZE_MAX, Request
from ledger.sdjwt import SDJWT_SIZE_MAX
from ledger.trees.merkle import Content, ContentHasher
from ledger.trust import TrustedRoot, check_replaces
from ledger.verdictjson import disclosure_to_json, refusal_to_json, verdict_to_json
from ledger.verdicts import VerificationError
from ledger.verifier import MAX_AGE_MS, Verifier
from node.api.connection import connection_of
from node.api.loopback import LoopbackListener, check_host, refuse_http
from node.api.openapi import describe
from node.api.route import Answer, PartField, Route, RouteError, refusal, require_number, respond
from node.clock import Clock, SystemClock
from node.files.reading import DOCUMENT_SIZE_MAX, open_within
from node.recipient.form import Form, place_for_form, read_form
from node.recipient.forms import FORMS_MAX, FormPlace, Forms
from node.recipient.presented import (
    BUNDLE_PART,
    DOCUMENT_PART,
    EITHER,
    PROOF_PART,
    InsideDocument,
    PartsError,
    tell_parts,
)
from node.recipient.question import TimeAsked, ask, ask_disclosure

# Held while it is read, unlike a document: what is larger comes as two parts.
BUNDLE_SIZE_MAX: Final = 16 * 1024**2
TEXT_SIZE_MAX: Final = 200
REFUSED_STATUS: Final = 422
TOLD_EVERY_MS: Final = 10_000

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Of an answer: the document inside a bundle.
_INSIDE: Final = "inside"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)

_TIMES: Final[Mapping[str, PartField]] = {
    "max_age_ms": PartField(
        "How old the proof may be, in milliseconds; by default 24 hours.", TEXT_SIZE_MAX, False, False
    ),
    "at_ms": PartField(
        "A past time asked about, in milliseconds of the Unix epoch. Leave it out to ask about the present.",
        TEXT_SIZE_MAX,
        False,
        False,
    ),
}
_REQUESTS: Final[Mapping[str, PartField]] = {
    "request": PartField(
        "The content of your own consent request; or give request_name.",
        REQUEST_FILE_SIZE_MAX,
        is_required=False,
    ),
    "request_name": PartField(
        "The name of your own consent request in the folder that the service was started with.",
        TEXT_SIZE_MAX,
        False,
        False,
    ),
}
_PROOF: Final = PartField("The content of its proof file.", PROOF_FILE_SIZE_MAX)
_ANCHOR_PARTS: Final[Mapping[str, PartField]] = {
    DOCUMENT_PART: PartField(
        "The document's bytes. Of any size: they are hashed as they come.",
        DOCUMENT_SIZE_MAX,
        is_required=False,
    ),
    PROOF_PART: PartField(_PROOF.meaning, _PROOF.size_max, is_required=False),
    BUNDLE_PART: PartField(
        "Instead of document and proof: a plain ZIP of exactly these two. The answer is about the document `inside`.",
        BUNDLE_SIZE_MAX,
        is_required=False,
    ),
    **_TIMES,
}
_PARTS: Final[Mapping[str, PartField]] = {**_ANCHOR_PARTS, **_REQUESTS}
_SHOWN_PARTS: Final[Mapping[str, PartField]] = {
    "shown": PartField("The file with the fields that the holder chose.", SDJWT_SIZE_MAX),
    PROOF_PART: _PROOF,
    **_TIMES,
    **_REQUESTS,
}


class RecipientService:
    """Verifies what is sent to it, under one trusted root."""

    def __init__(
        self,
        trust: TrustedRoot,
        *,
        requests: Path | None = None,
        clock: Clock | None = None,
        fields_of: Callable[[str], Sequence[str]] = lambda _schema: (),
    ) -> None:
        """`requests` is the folder of the bank's own requests, where callers may name them.

        `fields_of` returns the fields that reports of a kind have, to name those that are withheld.
        """
        self._fields_of = fields_of
        self._verifier = Verifier(trust)
        self._trust = trust
        self._requests = requests
        self._clock = clock or SystemClock()
        self._forms = Forms(count_max=FORMS_MAX, on_displaced=lambda: self._was_displaced("forms"))
        self._displaced_count = 0
        self._displaced_told_ms: int | None = None
        self.routes = self._make_routes()
        application = web.Application(middlewares=[_middleware], client_max_size=PROOF_SIZE_MAX)
        self._listener = LoopbackListener(
            application, self.routes, _answer_of, on_displaced=self._was_displaced
        )

    async def start(self, host: str, port: int) -> int:
        """Listen on a loopback address; return the port. Raises ConfigError for any other address."""
        return await self._listener.start(host, port)

    @property
    def accepting(self) -> asyncio.Task[None]:
        """What accepts connections, until `close`."""
        return self._listener.accepting

    async def close(self) -> None:
        """Stop listening."""
        await self._listener.close()

    def reload(self, load: Callable[[], TrustedRoot]) -> bool:
        """Take the trusted root that `load` returns; keep the old one where it raises or may not follow. Say which."""
        try:
            trust = load()
            verifier = Verifier(trust)
            check_replaces(trust, self._trust)
            self._verifier, self._trust = verifier, trust
        except (LedgerError, OSError) as error:
            logger.error("recipient.trust_refused reason=%s", ascii(f"{error}")[:300])
            return False
        logger.info("recipient.trust_loaded checkpoints=%d", len(trust.checkpoints))
        return True

    @property
    def forms_count(self) -> int:
        """How many forms are being read."""
        return self._forms.count

    def _was_displaced(self, pool: str) -> None:
        self._displaced_count += 1
        now_ms = self._clock.monotonic_ms()
        if self._displaced_told_ms is None or now_ms - self._displaced_told_ms >= TOLD_EVERY_MS:
            self._displaced_told_ms = now_ms
            logger.warning("recipient.displaced pool=%s count=%d", pool, self._displaced_count)

    # -- routes ------------------------------------------------------------------------------------------

    def _make_routes(self) -> tuple[Route, ...]:
        async def openapi(_request: web.Request) -> web.StreamResponse:
            return respond(description)

        # Forms have places of their own, so their routes are kept: they need no other.
        routes = (
            Route(
                "POST",
                "/v1/verify",
                "Verify a document that was presented for your request. 200 only where it verified.",
                self._verify,
                is_kept=True,
                parts=_PARTS,
                either=EITHER,
                answers=_ANSWERS,
            ),
            Route(
                "POST",
                "/v1/verify-anchor",
                "Verify a document and its anchor alone: neither consent nor presentation is checked.",
                self._verify_anchor,
                is_kept=True,
                parts=_ANCHOR_PARTS,
                either=EITHER,
                answers=_ANSWERS,
            ),
            Route(
                "POST",
                "/v1/verify-disclosure",
                "Verify a report of which the holder shows chosen fields for your request.",
                self._verify_disclosure,
                is_kept=True,
                parts=_SHOWN_PARTS,
                answers=_DISCLOSURE_ANSWERS,
            ),
            Route("GET", "/v1/trust", "What is trusted: the chain, and the newest pin.", self._show_trust),
            Route("GET", "/v1/health", "The process is up.", self._health, is_kept=True),
            Route("GET", "/v1/openapi.json", "This description.", openapi),
        )
        description = describe(routes, title="Luohu verifier", schemas=_SCHEMAS)
        return routes

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        form, time = await self._read(request, _PARTS)
        asked = self._request_of(form.parts)
        document, proof = _sources(form)
        try:
            verdict = ask(self._verifier, document, proof, asked, time)
        except VerificationError as error:
            return _respond(refusal_to_json(error, is_anchor_only=False), REFUSED_STATUS, form.inside)
        return _respond(verdict_to_json(verdict, at_ms=time.at_ms), 200, form.inside)

    async def _verify_anchor(self, request: web.Request) -> web.StreamResponse:
        inside: InsideDocument | None = None
        try:
            form, time = await self._read(request, _ANCHOR_PARTS)
            inside = form.inside
            document, proof = _sources(form)
            verdict = ask(self._verifier, document, proof, None, time)
        except VerificationError as error:
            return _respond(refusal_to_json(error, is_anchor_only=True), REFUSED_STATUS, inside)
        return _respond(verdict_to_json(verdict, at_ms=time.at_ms), 200, inside)

    async def _verify_disclosure(self, request: web.Request) -> web.StreamResponse:
        form, time = await self._read(request, _SHOWN_PARTS)
        asked = self._request_of(form.parts)
        named = [
            name for schema in asked.decoded().decoded_asked().schemas for name in self._fields_of(schema)
        ]
        verdict = ask_disclosure(
            self._verifier, form.parts["shown"], form.parts[PROOF_PART], asked, time, named_fields=named
        )
        return _respond(disclosure_to_json(verdict, at_ms=time.at_ms), 200)

    async def _read(self, request: web.Request, shape: Mapping[str, PartField]) -> tuple[Form, TimeAsked]:
        async with place_for_form(self._forms, request) as place:
            form = await read_form(request, shape, place)
            if BUNDLE_PART in shape:
                form = await _unpacked(form, place)
        time = TimeAsked(
            self._clock.wall_ms(),
            _milliseconds(form.parts, "at_ms", None),
            _milliseconds(form.parts, "max_age_ms", MAX_AGE_MS),
        )
        if time.is_to_come:
            raise RouteError(
                status=400,
                code="time-to-come",
                where="at_ms",
                expected=f"a past time, at most {time.now_ms} by this machine's clock",
                found=f"{time.past_ms}",
                cure="Leave at_ms out to ask about the present.",
            )
        return form, time

    def _request_of(self, parts: Mapping[str, bytes]) -> Request:
        if ("request" in parts) == ("request_name" in parts):
            found = "both" if "request" in parts else "neither"
            raise _fault("request", "either request or request_name", found)
        if "request" in parts:
            return Request.decode(parts["request"])
        name = _text(parts, "request_name")
        if self._requests is None:
            raise _fault("request_name", "a service that was started with --requests", "one without")
        if not _NAME.fullmatch(name):
            raise _fault("request_name", "the name of a file in the folder of requests", ascii(name)[:80])
        try:
            with open_within(self._requests, name) as file:
                return Request.decode(file.read(REQUEST_FILE_SIZE_MAX + 1))
        except OSError as error:
            raise RouteError(
                status=404,
                code="unknown",
                where="request_name",
                expected="a request in the folder of requests",
                found=f"{name}: {error.strerror}",
                cure="Keep each request there, as `luohu consent request` wrote it.",
            ) from error

    async def _show_trust(self, _request: web.Request) -> web.StreamResponse:
        pin = self._trust.newest_pin(self._clock.wall_ms())
        value: dict[str, Json] = {
            "chain_id": self._trust.chain_id.hex(),
            "newest_pin": {"epoch": pin.epoch, "height": pin.height, "block_hash": pin.block_hash.hex()},
            "checkpoints_count": len(self._trust.checkpoints),
        }
        return respond(value)

    async def _health(self, _request: web.Request) -> web.StreamResponse:
        return respond({"status": "up"})


def _answer_of(route: Route) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        route.check_query(request)
        with connection_of(request).answering(request, route):
            return await route.answer(request)

    return answer


@web.middleware
async def _middleware(request: web.Request, handler: Answer) -> web.StreamResponse:
    try:
        check_host(request)
        if hdrs.ORIGIN in request.headers:
            cure = "Call it from a program; web/verify.html verifies inside a browser."
            found = ascii(request.headers[hdrs.ORIGIN])[:80]
            raise RouteError(
                status=403, code="origin", where="Origin", expected="no web page", found=found, cure=cure
            )
        return await handler(request)
    except RouteError as error:
        response = refusal(error, error.status)
        # The rest of a form that was refused is not read: the connection ends with the answer.
        response.force_close()
        return response
    except VerificationError as error:
        return _respond(refusal_to_json(error, is_anchor_only=False), REFUSED_STATUS)
    except LedgerError as error:
        return refusal(error, 400)
    except web.HTTPException as error:
        return refuse_http(request, error)


def _respond(value: dict[str, Json], status: int, inside: InsideDocument | None = None) -> web.Response:
    logger.info("recipient.answered verdict=%s code=%s", value["verdict"], value.get("code", "none"))
    return respond(value if inside is None else {**value, _INSIDE: inside.to_json()}, status)


def _text(parts: Mapping[str, bytes], name: str) -> str:
    try:
        return parts[name].decode("ascii")
    except UnicodeDecodeError as error:
        raise _fault(name, "ASCII", "other bytes") from error


def _milliseconds(parts: Mapping[str, bytes], name: str, otherwise: T) -> int | T:
    if name not in parts:
        return otherwise
    number = require_number(_text(parts, name), name)
    if number > MILLISECONDS_MAX:
        raise _fault(name, f"at most {MILLISECONDS_MAX} milliseconds", f"{number}")
    return number


def _sources(form: Form) -> tuple[Content, bytes]:
    """Return document and proof, which came as two parts or, unpacked already, as a bundle."""
    assert form.document is not None, "checked when the form was read"
    return form.document, form.parts[PROOF_PART]


async def _unpacked(form: Form, place: FormPlace) -> Form:
    """Return a form with document and proof, whichever way they came. Raises RouteError, or BundleError."""
    try:
        is_bundle = tell_parts({*form.parts, *([] if form.document is None else [DOCUMENT_PART])})
    except PartsError as error:
        raise _fault("body", "either document and proof, or pair", f"{error}") from error
    if not is_bundle:
        return form
    place.unpacks()
    bundle, hasher = open_bundle(io.BytesIO(form.parts[BUNDLE_PART])), ContentHasher()
    inside = InsideDocument(bundle)
    for piece in inside.pieces():
        hasher.update(piece)
        place.unpacked_size += len(piece)
        # It may unpack to two hundred times its size: others have their turn in between.
        await asyncio.sleep(0)
    return Form(hasher.finish(), {**form.parts, PROOF_PART: bundle.proof}, inside)


def _fault(where: str, expected: str, found: str) -> RouteError:
    cure = "Send multipart/form-data as GET /v1/openapi.json describes it."
    return RouteError(status=400, code="encoding", where=where, expected=expected, found=found, cure=cure)


def _shape(**properties: Json) -> dict[str, Json]:
    return {"type": "object", "required": [*properties], "properties": {**properties}}


_TEXT: Final[dict[str, Json]] = {"type": "string"}
_WHOLE: Final[dict[str, Json]] = {"type": "integer", "minimum": 0}
_FLAG: Final[dict[str, Json]] = {"type": "boolean"}
_SENTENCE: Final[dict[str, Json]] = _shape(**{"en": _TEXT, "zh-Hans": _TEXT, "zh-Hant": _TEXT})
_STEPS: Final[dict[str, Json]] = {"type": "array", "items": _TEXT}
_VERDICT_SHAPE: Final = _shape(
    verdict={"enum": ["verified", "anchor-verified"]},
    checked=_STEPS,
    at_ms=_WHOLE,
    integrity=_shape(media_type=_TEXT, size=_WHOLE, commitment=_TEXT),
    issuer=_shape(member=_TEXT, name_en=_TEXT, name_zh_hans=_TEXT, name_zh_hant=_TEXT, is_suspended=_FLAG),
    anchored=_shape(
        root=_TEXT,
        schema=_TEXT,
        height=_WHOLE,
        time_ms=_WHOLE,
        issued_ms=_WHOLE,
        expires_ms={"type": ["integer", "null"]},
    ),
    status=_shape(height=_WHOLE, time_ms=_WHOLE, age_ms=_WHOLE),
    trust=_shape(chain_id=_TEXT, epoch=_WHOLE, height=_WHOLE),
)
_CONSENT_SHAPES: Final[dict[str, Json]] = {
    "consent": _shape(
        consent_id=_TEXT, recipient=_TEXT, purpose=_TEXT, until_ms=_WHOLE, used=_WHOLE, uses=_WHOLE
    ),
    "presented": _shape(
        nonce=_TEXT,
        holder_key={"type": ["string", "null"]},
        item=_WHOLE,
        shown={"type": ["string", "null"]},
        list_size=_WHOLE,
        list_root=_TEXT,
    ),
}
_SCHEMAS: Final[dict[str, Json]] = {
    "Verdict": {
        **_VERDICT_SHAPE,
        "description": "Facts on separate axes. Consent and presentation stand in it where they were checked.",
        "properties": {**_VERDICT_SHAPE["properties"], **_CONSENT_SHAPES},  # type: ignore[dict-item]
    },
    "Disclosed": {
        "allOf": [{"$ref": "#/components/schemas/Verdict"}],
        "required": ["disclosed"],
        "properties": {
            "disclosed": _shape(
                fields={"type": "object"},
                shown={"type": "object"},
                withheld=_STEPS,
                withheld_count=_WHOLE,
                bound_ms=_WHOLE,
                arrays={
                    "type": "object",
                    "additionalProperties": _shape(shown_count=_WHOLE, elements_count=_WHOLE, is_whole=_FLAG),
                },
                shown_hash=_TEXT,
            )
        },
    },
    "Inside": {
        **_shape(name=_TEXT, size=_WHOLE, sha256={"type": ["string", "null"]}),
        "description": "Of a pair alone: the document inside, which the answer is about.",
    },
    "Refusal": _shape(
        verdict={"const": "refused"},
        checked=_STEPS,
        code=_TEXT,
        step=_TEXT,
        where=_TEXT,
        expected=_TEXT,
        found=_TEXT,
        meaning=_SENTENCE,
        next_step=_SENTENCE,
    ),
}


def _answer_shape(description: str, schema: str, **more: Json) -> dict[str, Json]:
    shape: dict[str, Json] = {"$ref": f"#/components/schemas/{schema}"}
    if more:
        shape["properties"] = {**more}
    return {"description": description, "content": {"application/json": {"schema": shape}}}


_OF_BUNDLE: Final[dict[str, Json]] = {_INSIDE: {"$ref": "#/components/schemas/Inside"}}
_REFUSED: Final = "The document is refused, with step, code and reason."
_ANSWERS: Final[Mapping[str, Json]] = {
    "200": _answer_shape("The document verified.", "Verdict", **_OF_BUNDLE),
    f"{REFUSED_STATUS}": _answer_shape(_REFUSED, "Refusal", **_OF_BUNDLE),
}
_DISCLOSURE_ANSWERS: Final[Mapping[str, Json]] = {
    "200": _answer_shape("The report verified, and these are its fields that are shown.", "Disclosed"),
    f"{REFUSED_STATUS}": _answer_shape(_REFUSED, "Refusal"),
}
