"""The route table: every route, once. What serves requests and what describes them are both made from it."""

from typing import Final

from aiohttp import web

from ledger.encoding.records import Json
from node.api.answers import DESCRIBED, SCHEMAS
from node.api.decisions import RECORDS_MAX, Decisions
from node.api.events import Events
from node.api.metrics import Metrics
from node.api.openapi import describe
from node.api.queries import BLOCKS_MAX, DOCUMENTS_BODY, EVIDENCE_BODY, Queries
from node.api.route import Route, respond
from node.api.submissions import RELAY_BODY, SUBMIT_BODY, Submissions
from node.api.texts import MEDIA_TYPE, SENDING_MAX, TextBundles
from node.evidence import DOCUMENTS_MAX

_BLOCKS_QUERY: Final = {"from": "The first height.", "count": f"How many, at most {BLOCKS_MAX}."}
_COUNT_QUERY: Final = {"count": f"How many, at most {RECORDS_MAX}."}
_PROPOSALS_QUERY: Final = {"from": "The id of the first one; by default the latest's.", **_COUNT_QUERY}
_EVENTS_QUERY: Final = {"from": "The cursor after which to start: height, or height.index."}


def make_routes(
    submissions: Submissions,
    queries: Queries,
    decisions: Decisions,
    events: Events,
    texts: TextBundles,
    metrics: Metrics,
) -> tuple[Route, ...]:
    """Return all routes of the API."""

    async def openapi(_request: web.Request) -> web.StreamResponse:
        return respond(description)

    routes = (
        Route(
            "POST",
            "/v1/transactions",
            "Submit members' signed transactions and wait for them to be final.",
            submissions.submit,
            body=SUBMIT_BODY,
        ),
        Route("GET", "/v1/transactions/{id}", "What became of a transaction.", submissions.find),
        Route(
            "POST",
            "/v1/relay",
            "Carry one holder's grants and withdrawals; each address only so often.",
            submissions.relay,
            body=RELAY_BODY,
        ),
        Route(
            "POST",
            "/v1/evidence",
            "Evidence for a proof: no document, no opening, no content hash.",
            queries.evidence,
            body=EVIDENCE_BODY,
        ),
        Route(
            "POST",
            "/v1/evidence/documents",
            f"Evidence of up to {DOCUMENTS_MAX} documents under one header.",
            queries.documents_evidence,
            body=DOCUMENTS_BODY,
        ),
        Route("GET", "/v1/state/{key}", "A leaf of the state, proven present or absent.", queries.state),
        Route("GET", "/v1/members", "Every member's record as it stands.", queries.members),
        Route("GET", "/v1/members/{member}", "A member's record with its proof.", queries.member),
        Route("GET", "/v1/consents/{key}/{id}", "A consent's record with its proof.", queries.consent),
        Route(
            "GET",
            "/v1/proposals",
            "Proposals, newest first.",
            decisions.proposals,
            query=_PROPOSALS_QUERY,
        ),
        Route("GET", "/v1/proposals/{id}", "A proposal with its votes and its proof.", decisions.proposal),
        Route("GET", "/v1/validators", "The validator sets, current and pending.", decisions.validators),
        Route(
            "GET",
            "/v1/misbehaviour",
            "Misbehaviour of validators on record, newest first.",
            decisions.misbehaviour,
            query=_COUNT_QUERY,
        ),
        Route("GET", "/v1/blocks", "Final blocks from a height on.", queries.blocks, query=_BLOCKS_QUERY),
        Route("GET", "/v1/blocks/{height}", "One final block.", queries.block),
        Route("GET", "/v1/genesis", "The genesis of this node's chain.", queries.genesis),
        Route(
            "GET",
            "/v1/texts/{hash}",
            "A text bundle by its hash, or one that has the notice of a version; check the hash of what comes.",
            texts.send,
            media_type=MEDIA_TYPE,
            places_max=SENDING_MAX,
        ),
        Route("GET", "/v1/status", "Where the node stands.", queries.status, is_kept=True),
        Route("GET", "/v1/health", "The process is up.", queries.health, is_kept=True),
        Route(
            "GET",
            "/v1/ready",
            "The node can serve, or what it waits for (503).",
            queries.ready,
            is_kept=True,
        ),
        Route(
            "GET",
            "/v1/events",
            "What becomes final, as server-sent events; resumed with Last-Event-ID or from.",
            events.subscribe,
            query=_EVENTS_QUERY,
            media_type="text/event-stream",
            is_stream=True,
        ),
        Route("GET", "/v1/openapi.json", "This description.", openapi),
        Route(
            "GET",
            "/metrics",
            "Metrics for Prometheus.",
            metrics.show,
            media_type="text/plain",
            is_kept=True,
        ),
    )
    description: dict[str, Json] = describe(routes, schemas=SCHEMAS, described=DESCRIBED)
    return routes
