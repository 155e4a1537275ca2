"""Every answer of the node fits the schema that its description gives, and paths fit their patterns."""

import asyncio
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from ledger.encoding.records import Json, pack, to_json
from ledger.rules.proposals import AddPurpose
from ledger.rules.state import member_key
from node.api.answers import DESCRIBED
from node.api.server import Api
from node.api.shapeschema import ShapeSchemas
from node.condition import CODES
from tests.ledger.encoding.test_records import BASKET, JSON, Basket
from tests.node.api.test_api import BODIES, PATHS
from tests.node.test_condition import SITUATIONS
from tests.support.consortium import make_anchor, make_grant, make_transaction
from tests.support.governors import proposing
from tests.support.jsonschema import faults, resolve
from tests.support.memory_node import MemoryNode, serve

GRANT = make_grant()
PROPOSED, PROPOSAL = proposing(AddPurpose("another-purpose", ()))
ANCHORING = make_transaction("hk-bureau", make_anchor())


def requests() -> dict[str, tuple[str, object]]:
    """Return a path and a body for every route, in an order in which each finds something."""
    consent = f"{GRANT.decoded().consent_key}/{GRANT.consent_id.hex()}"
    evidence = {**BODIES["/v1/evidence"]["request"], "root": make_anchor().root.hex()}
    documents = BODIES["/v1/evidence/documents"]["request"]
    documents = {**documents, "anchors": [{**documents["anchors"][0], "root": make_anchor().root.hex()}]}
    unchanged = {name: (name.split()[1], None) for name in DESCRIBED if name.startswith("GET")}
    return {
        "POST /v1/transactions": (
            "/v1/transactions",
            {"transactions": [ANCHORING.encoded.hex(), "00"], "wait_ms": 0},
        ),
        "POST /v1/relay": ("/v1/relay", {"operations": [pack(GRANT).hex()], "wait_ms": 0}),
        "POST /v1/evidence": ("/v1/evidence", {"request": evidence}),
        "POST /v1/evidence/documents": ("/v1/evidence/documents", {"request": documents}),
        **unchanged,
        "GET /v1/transactions/{id}": (f"/v1/transactions/{ANCHORING.id.hex()}", None),
        "GET /v1/state/{key}": (f"/v1/state/{member_key('hk-bureau').hex()}", None),
        "GET /v1/members/{member}": ("/v1/members/hk-bureau", None),
        "GET /v1/consents/{key}/{id}": (f"/v1/consents/{consent}", None),
        "GET /v1/proposals/{id}": (f"/v1/proposals/{PROPOSAL.hex()}", None),
        "GET /v1/blocks/{height}": ("/v1/blocks/1", None),
    }


async def ask(session: aiohttp.ClientSession, method: str, url: str, body: object) -> tuple[int, Any]:
    async with session.request(method, url, json=body) as response:
        return response.status, await response.json()


def test_every_json_route_is_described_and_no_other() -> None:
    routes = {route.name: route for route in Api(MemoryNode()).routes}
    assert {name for name, route in routes.items() if route.media_type == "application/json"} == set(
        DESCRIBED
    )
    for name, described in DESCRIBED.items():
        assert set(described.path) == set(routes[name].path_names), name


def test_each_answer_fits_its_schema_and_no_other_one() -> None:
    async def scenario() -> None:
        node = MemoryNode()
        node.extend(make_transaction("hk-operator", PROPOSED))
        async with serve(node) as url, aiohttp.ClientSession() as session:
            _, document = await ask(session, "GET", f"{url}/v1/openapi.json", None)
            schemas, answers = {}, {}
            for name, (path, body) in requests().items():
                method, described = name.split()
                status, answers[name] = await ask(session, method, url + path, body)
                assert status == 200, f"{name}: {answers[name]}"
                answer = document["paths"][described][method.lower()]["responses"]["200"]
                schemas[name] = answer["content"]["application/json"]["schema"]
                assert [*faults(schemas[name], answers[name], document)] == [], name
            assert set(answers) == set(DESCRIBED)
            other = answers["GET /v1/status"]
            for name, schema in schemas.items():
                assert name == "GET /v1/status" or [*faults(schema, other, document)], name

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize("path", ["/v1/evidence", "/v1/evidence/documents"])
def test_a_question_fits_the_schema_of_its_route_and_no_other(path: str) -> None:
    async def scenario() -> None:
        async with serve(MemoryNode()) as url, aiohttp.ClientSession() as session:
            _, document = await ask(session, "GET", f"{url}/v1/openapi.json", None)
        (media,) = document["paths"][path]["post"]["requestBody"]["content"].values()
        for other in ("/v1/evidence", "/v1/evidence/documents"):
            assert bool([*faults(media["schema"], BODIES[other], document)]) == (other != path)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_every_trouble_fits_the_schema_of_the_status() -> None:
    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            seen: set[str] = set()
            for observed, _, _ in SITUATIONS.values():
                async with serve(MemoryNode(observed=replace(observed, member="hk-bureau"))) as url:
                    _, document = await ask(session, "GET", f"{url}/v1/openapi.json", None)
                    _, answer = await ask(session, "GET", f"{url}/v1/status", None)
                described = document["paths"]["/v1/status"]["get"]["responses"]["200"]
                schema = described["content"]["application/json"]["schema"]
                assert [*faults(schema, answer, document)] == []
                seen |= {each["code"] for each in answer["condition"]["troubles"]}
                answer["condition"]["state"] = "unheard-of"
                assert [*faults(schema, answer, document)]
            assert seen == set(CODES)

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize(("path", "status", "code"), [each for each in PATHS if "?" not in each[0]])
def test_a_path_that_is_refused_as_malformed_is_one_that_no_pattern_allows(
    path: str, status: int, code: str
) -> None:
    parts = path.split("/")
    for name, described in DESCRIBED.items():
        pattern = name.split()[1].split("/")
        if len(pattern) != len(parts) or not described.path:
            continue
        if any(mine != its for mine, its in zip(parts, pattern, strict=True) if not its.startswith("{")):
            continue
        found = [
            fault
            for mine, its in zip(parts, pattern, strict=True)
            if its.startswith("{")
            for fault in faults(schema_of(described.path[its[1:-1]]), mine, {})
        ]
        assert bool(found) == (code == "encoding"), f"{name}: {found}"


def schema_of(value: Json) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def test_a_record_fits_the_schema_of_its_shape() -> None:
    shapes = ShapeSchemas()
    reference = shapes.reference(Basket)
    document = {"components": {"schemas": shapes.components}}
    assert to_json(BASKET) == JSON and [*faults(reference, JSON, document)] == []
    assert set(resolve(document, "#/components/schemas/Basket")["properties"]) == set(JSON)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("owner", "A"),
        ("owner", "a" * 9),
        ("label", ""),
        ("seal", "0"),
        ("seal", "AA"),
        ("seal", ""),
        ("seal", "00000000"),
        ("fruit", []),
        ("fruit", [{"type": "pear", "weight": 2}]),
        ("fruit", [{"type": "fig", "weight": 3}]),
        ("fruit", [{"type": "pear", "weight": 3, "more": 1}]),
        ("numbers", [1, 2, 3, 4]),
        ("numbers", [101]),
        ("numbers", [True]),
        ("best", 1),
    ],
)
def test_what_does_not_fit_a_shape_does_not_fit_its_schema(name: str, value: object) -> None:
    shapes = ShapeSchemas()
    reference = shapes.reference(Basket)
    document = {"components": {"schemas": shapes.components}}
    assert [*faults(reference, {**JSON, name: value}, document)]
