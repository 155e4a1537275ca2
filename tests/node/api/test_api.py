"""Every route of the API, with every fault: a clear JSON refusal, never a 500, a traceback or a hang."""

import asyncio
import contextlib
import io
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from ledger.encoding.records import Json, pack, unpack
from ledger.errors import LedgerError
from ledger.proofs import Evidence
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.operations import Operation
from ledger.rules.state import member_key
from ledger.rules.transactions import Transaction
from node.api import bodies, connection, events, pool, queries, submissions
from node.api import route as routes
from node.api.loopback import check_loopback
from node.api.queries import BLOCKS_MAX
from node.api.route import BODY_VALUES_MAX
from node.api.server import Api
from node.api.service import REFUSED, Submission
from node.errors import NodeStopped, VoteLogError
from node.evidence import DOCUMENTS_MAX, DocumentsEvidence, DocumentsRequest
from node.files.configfile import ConfigError
from node.storage.tables import damaged
from node.version import release
from tests.support.consortium import (
    REPORT,
    VALIDATORS,
    make_anchor,
    make_closing,
    make_content,
    make_grant,
    make_transaction,
    make_withdrawal,
)
from tests.support.jsonschema import faults
from tests.support.machine import PATIENCE_S
from tests.support.memory_node import MemoryNode, serve

TEXTS = {"code", "where", "expected", "found", "cure"}
HASH = "00" * 32
JSON = {"Content-Type": "application/json"}


def run(
    scenario: Callable[[MemoryNode, aiohttp.ClientSession, str], Awaitable[None]],
    idle_s: float = 20.0,
) -> None:
    """Run a scenario against a served node that has one block."""

    async def whole() -> None:
        node = MemoryNode()
        node.extend(make_transaction("hk-bureau", make_anchor()))
        async with (
            serve(node, idle_s=idle_s) as url,
            aiohttp.ClientSession() as session,
        ):
            await scenario(node, session, url)

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_S))


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    data: bytes | str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    async with session.request(
        method, url, data=io.BytesIO(data) if isinstance(data, bytes) else data, headers=headers
    ) as response:
        assert response.content_type == "application/json"
        return response.status, json.loads(await response.read())


async def post(session: aiohttp.ClientSession, url: str, body: object) -> tuple[int, dict[str, Any]]:
    return await ask(session, "POST", url, json.dumps(body), JSON)


def check_refusal(answer: dict[str, Any]) -> str:
    assert set(answer) == {"error"} and set(answer["error"]) == TEXTS
    assert all(type(text) is str and text for text in answer["error"].values())
    assert "Traceback" not in json.dumps(answer)
    return cast(str, answer["error"]["code"])


# -- the matrix of routes and faults -------------------------------------------------------------------------

BODIES: dict[str, dict[str, Any]] = {
    "/v1/transactions": {"transactions": ["00"], "wait_ms": 0},
    "/v1/relay": {"operations": ["00"], "wait_ms": 0},
    "/v1/evidence": {
        "request": {
            "type": "evidence-request",
            "issuer": "hk-bureau",
            "root": HASH,
            "commitment": HASH,
            "consent_key": None,
            "consent_id": None,
            "from_epoch": 0,
        }
    },
    "/v1/evidence/documents": {
        "request": {
            "type": "documents-request",
            "anchors": [{"issuer": "hk-bureau", "root": HASH, "commitments": [HASH]}],
            "consent_key": None,
            "consent_id": None,
            "from_epoch": 0,
        }
    },
}
JUNK: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "encoding"),
    "no JSON": (b"{", 400, "encoding"),
    "two values": (b"{} {}", 400, "encoding"),
    "a list": (b"[]", 400, "encoding"),
    "null": (b"null", 400, "encoding"),
    "no keys": (b"{}", 400, "encoding"),
    "UTF-16": ("{}".encode("utf-16"), 400, "encoding"),
    "not UTF-8": (b'{"\xff": 1}', 400, "encoding"),
    "not a number": (b'{"wait_ms": NaN}', 400, "encoding"),
    "endless number": (b'{"wait_ms": ' + b"9" * 10_000 + b"}", 400, "encoding"),
    "deep nesting": (b"[" * 200_000, 400, "encoding"),
    "deep objects": (b'{"a":' * 100_000, 400, "encoding"),
    "lone surrogate": (b'{"\\ud800": 1}', 400, "encoding"),
    "a long repeated key": (b'{"%s": 1, "%s": 2}' % (b"k" * 5_000, b"k" * 5_000), 400, "encoding"),
    "past the size": (b" " * (routes.BODY_SIZE_MAX + 1), 413, "too-large"),
}


def spoiled(body: dict[str, Any]) -> dict[str, bytes]:
    """Return a body with one thing wrong at a time."""
    faults = {"unknown key": json.dumps({**body, "extra": 1})}
    for key, value in body.items():
        rest = {other: kept for other, kept in body.items() if other != key}
        faults[f"{key} missing"] = json.dumps(rest)
        faults[f"{key} twice"] = json.dumps(body)[:-1] + f', "{key}": {json.dumps(value)}}}'
        wrongs: tuple[Json, ...] = (
            None,
            True,
            -1,
            1.5,
            "",
            "x",
            [],
            {},
            [1],
            ["xx"],
            ["0"],
            ["AA"],
            ["0 0 "],
            ["00\n"],
            [[]],
        )
        for wrong in wrongs:
            faults[f"{key} = {wrong!r}"] = json.dumps({**body, key: wrong})
    return {name: text.encode() for name, text in faults.items()}


@pytest.mark.parametrize("path", list(BODIES))
def test_a_body_that_is_wrong_anywhere_is_refused_with_a_reason(path: str) -> None:
    # Fewer faults than the relay route's burst, so that none is refused for its rate.
    assert len(JUNK) + len(spoiled(BODIES[path])) < submissions.RELAY_BURST

    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        height = node.status().height
        faults = {name: (body, 400, "encoding") for name, body in spoiled(BODIES[path]).items()}
        for name, (body, status, code) in {**JUNK, **faults}.items():
            answered, answer = await ask(session, "POST", url + path, body, JSON)
            assert (answered, check_refusal(answer)) == (status, code), name
            assert len(json.dumps(answer)) < 2_000, f"{name}: what is repeated of a request is bounded"
        assert node.status().height == height and node.requests == []

    run(scenario)


@pytest.mark.parametrize("path", list(BODIES))
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_another_media_type_is_refused(path: str, headers: dict[str, str]) -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        body = json.dumps(BODIES[path]).encode()
        status, answer = await ask(session, "POST", url + path, body, headers)
        assert (status, check_refusal(answer)) == (415, "media-type")

    run(scenario)


PATHS = (
    ("/v1/nothing", 404, "unknown"),
    ("/", 404, "unknown"),
    ("/v1/%ff%fe", 404, "unknown"),
    ("/v1/blocks/99", 404, "unknown"),
    ("/v1/blocks/-1", 400, "encoding"),
    ("/v1/blocks/007", 400, "encoding"),
    ("/v1/blocks/%D9%A1", 400, "encoding"),
    ("/v1/blocks/" + "9" * 16, 400, "encoding"),
    ("/v1/blocks?from=0&from=1", 400, "encoding"),
    ("/v1/blocks?to=1", 400, "encoding"),
    ("/v1/blocks?count=0", 400, "encoding"),
    (f"/v1/blocks?count={BLOCKS_MAX + 1}", 400, "encoding"),
    ("/v1/blocks?from=", 400, "encoding"),
    ("/v1/status?x=1", 400, "encoding"),
    ("/v1/state/00", 400, "encoding"),
    (f"/v1/state/{HASH}00", 400, "encoding"),
    ("/v1/state/" + "zz" * 32, 400, "encoding"),
    ("/v1/state/" + "AB" * 32, 400, "encoding"),
    ("/v1/members/nobody", 404, "unknown"),
    ("/v1/members/" + "x" * 33, 400, "encoding"),
    ("/v1/members/%E9%A6%99", 400, "encoding"),
    (f"/v1/proposals/{HASH}", 404, "unknown"),
    ("/v1/proposals/00", 400, "encoding"),
    (f"/v1/proposals?from={HASH}", 404, "unknown"),
    ("/v1/proposals?count=0", 400, "encoding"),
    ("/v1/proposals?count=33", 400, "encoding"),
    ("/v1/validators?x=1", 400, "encoding"),
    ("/v1/misbehaviour?count=x", 400, "encoding"),
    (f"/v1/transactions/{HASH}", 404, "unknown"),
    ("/v1/transactions/12", 400, "encoding"),
    (f"/v1/consents/ed25519:{HASH}/{HASH}", 404, "unknown"),
    (f"/v1/consents/rsa:{HASH}/{HASH}", 400, "encoding"),
    (f"/v1/consents/ed25519:{HASH}/00", 400, "encoding"),
    (f"/v1/texts/{HASH}", 404, "unknown"),
    ("/v1/texts/00", 400, "encoding"),
    (f"/v1/texts/{HASH.upper()}F", 400, "encoding"),
    (f"/v1/texts/{HASH}?x=1", 400, "encoding"),
    ("/v1/events?from=x", 400, "encoding"),
    ("/v1/events?from=1.x", 400, "encoding"),
    ("/v1/events?from=1.2.3", 400, "encoding"),
    ("/v1/events?since=1", 400, "encoding"),
)


def test_a_path_or_query_that_is_wrong_is_refused_with_a_reason() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        for path, status, code in PATHS:
            answered, answer = await ask(session, "GET", url + path)
            assert answered == status, path
            assert (answered, check_refusal(answer)) == (status, code), path

    run(scenario)


def fill(path: str) -> str:
    for name, value in (("key", HASH), ("id", HASH), ("hash", HASH), ("height", "0"), ("member", "x")):
        path = path.replace(f"{{{name}}}", value)
    return path


def test_every_route_refuses_every_other_method() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        for route in Api(MemoryNode()).routes:
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - {route.method}:
                status, answer = await ask(session, method, url + fill(route.path))
                assert (status, check_refusal(answer)) == (405, "method"), f"{method} {route.path}"
                assert answer["error"]["expected"] == route.method
            async with session.head(url + fill(route.path)) as response:
                assert response.status == 405

    run(scenario)


def test_a_request_that_names_another_host_is_refused() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        for host in (
            "rebound.example",
            "10.0.0.1:80",
            "localhost.example",
            "[2001:db8::1]:80",
            "127.0.0.1.example",
        ):
            status, answer = await ask(session, "GET", f"{url}/v1/status", headers={"Host": host})
            assert (status, check_refusal(answer)) == (421, "host")
        for host in ("localhost:7100", "127.0.0.1", "127.9.9.9:1", "[::1]:7100"):
            assert (await ask(session, "GET", f"{url}/v1/status", headers={"Host": host}))[0] == 200

    run(scenario)


async def raw(url: str, data: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        return await reader.read(65_536)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 500 + b"\r\n",
        b"POST /v1/relay HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/relay HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_as_json(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(_node: MemoryNode, _session: aiohttp.ClientSession, url: str) -> None:
        answer = await raw(url, data)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
        assert check_refusal(json.loads(body)) == "http"

    run(scenario)
    assert "Traceback" not in caplog.text


def test_a_broken_chunk_and_a_strange_expectation_are_refused() -> None:
    async def scenario(_node: MemoryNode, _session: aiohttp.ClientSession, url: str) -> None:
        start = b"POST /v1/relay HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        broken = await raw(url, start + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
        assert broken.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
        expecting = await raw(url, start + b"Expect: tea\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        assert expecting.startswith(b"HTTP/1.1 417")
        assert check_refusal(json.loads(expecting.partition(b"\r\n\r\n")[2])) == "http"
        continued = await raw(url, start + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}")
        assert continued.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")

    run(scenario)


def test_a_slow_sender_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BODY_S", 0.1)
    monkeypatch.setattr(connection, "LINGER_S", 0.1)

    async def scenario(_node: MemoryNode, _session: aiohttp.ClientSession, url: str) -> None:
        assert await raw(url, b"GET /v1/status HTTP/1.1\r\nHost: loc") == b"", "headers that never end"
        assert await raw(url, b"") == b"", "a client that says nothing"
        start = b"POST /v1/relay HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        answer = await raw(url, start + b"Content-Length: 100\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 408"), "a body that never ends"
        assert check_refusal(json.loads(answer.partition(b"\r\n\r\n")[2])) == "timeout"

    run(scenario, idle_s=0.2)


def test_large_bodies_held_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODIES_SIZE_MAX", bodies.SMALL_SIZE + 1)
    monkeypatch.setattr(pool, "WAIT_S", 0.05)

    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        most = bodies.SMALL_SIZE + 1
        for size, status, code in ((most, 400, "encoding"), (most + 1, 503, "busy"), (most, 400, "encoding")):
            answered, answer = await ask(session, "POST", f"{url}/v1/relay", b" " * size, JSON)
            assert (answered, check_refusal(answer)) == (status, code)

    run(scenario)


def test_evidence_of_many_documents_is_found_for_few_questions_at_once_and_the_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        node.extend(make_transaction("hk-bureau", make_anchor()))
        going, under_way, most = asyncio.Event(), 0, 0
        answered = MemoryNode.documents_evidence

        async def slowly(self: MemoryNode, request: DocumentsRequest) -> DocumentsEvidence:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                await going.wait()
                return await answered(self, request)
            finally:
                under_way -= 1

        monkeypatch.setattr(MemoryNode, "documents_evidence", slowly)
        request = BODIES["/v1/evidence/documents"]["request"]
        anchors = [{**request["anchors"][0], "root": make_anchor().root.hex()}]
        body = {"request": {**request, "anchors": anchors}}

        async def question() -> tuple[int, Any]:
            return await post(session, f"{url}/v1/evidence/documents", body)

        asked = [asyncio.create_task(question()) for _ in range(2 * queries.DOCUMENTS_AT_ONCE + 1)]
        while under_way < queries.DOCUMENTS_AT_ONCE:
            await asyncio.sleep(0)
        going.set()
        assert [status for status, _ in await asyncio.gather(*asked)] == [200] * len(asked)
        assert most == queries.DOCUMENTS_AT_ONCE and under_way == 0

        going.clear()
        monkeypatch.setattr(queries, "DOCUMENTS_S", 0.05)
        asked = [asyncio.create_task(question()) for _ in range(queries.DOCUMENTS_AT_ONCE + 1)]
        for status, answer in await asyncio.gather(*asked):
            assert (status, check_refusal(answer)) == (503, "busy") and "fewer" in answer["error"]["cure"]
        going.set()
        assert (await question())[0] == 200, "who gave up took no place with it"

    run(scenario)


def test_too_many_documents_in_one_question_are_refused_with_what_to_do() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        node.extend(make_transaction("hk-bureau", make_anchor()))
        request = BODIES["/v1/evidence/documents"]["request"]
        hashes = [number.to_bytes(32, "big").hex() for number in range(DOCUMENTS_MAX + 1)]
        anchor = {"issuer": "hk-bureau", "root": make_anchor().root.hex()}
        for anchors, status in (
            ([{**anchor, "commitments": hashes[:-1]}], 200),
            ([{**anchor, "commitments": hashes}], 400),
            ([{**anchor, "commitments": hashes[:-1]}, {**anchor, "commitments": hashes[-1:]}], 400),
            ([{**anchor, "commitments": []}], 400),
            ([], 400),
        ):
            body = {"request": {**request, "anchors": anchors}}
            answered, answer = await post(session, f"{url}/v1/evidence/documents", body)
            assert answered == status
            if status != 200:
                assert check_refusal(answer) == "encoding"
                assert f"{DOCUMENTS_MAX}" in answer["error"]["expected"]

    run(scenario)


def test_our_own_failure_says_nothing_of_itself_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        node.fails = ValueError("a secret")
        status, answer = await post(session, f"{url}/v1/transactions", BODIES["/v1/transactions"])
        assert (status, check_refusal(answer)) == (500, "internal")
        assert "secret" not in json.dumps(answer)

    run(scenario)
    assert "a secret" in caplog.text, "the operator reads it in the log"


def test_damage_that_a_route_meets_ends_the_node() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        node.fails = damaged(b"H" + bytes(8), "a flipped bit")
        status, answer = await post(session, f"{url}/v1/transactions", BODIES["/v1/transactions"])
        assert (status, check_refusal(answer)) == (503, "stopping")
        assert node.damaged == [node.fails]

    run(scenario)


def test_a_write_that_failed_for_a_client_is_no_500() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        for node.fails in (
            VoteLogError(
                where="votes", expected="a durable append", found="no space", cure="the node must stop"
            ),
            NodeStopped("another result"),
        ):
            status, answer = await post(session, f"{url}/v1/transactions", BODIES["/v1/transactions"])
            assert (status, check_refusal(answer)) == (503, "stopping")

    run(scenario)


def test_a_block_that_a_snapshot_stood_in_for_is_not_held() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        node.extend()
        node.missing = (1, 2)
        status, answer = await ask(session, "GET", f"{url}/v1/blocks/1")
        assert (status, check_refusal(answer)) == (404, "not-held")
        status, answer = await ask(session, "GET", f"{url}/v1/blocks?from=1")
        assert (status, check_refusal(answer)) == (404, "not-held")
        status, answer = await ask(session, "GET", f"{url}/v1/blocks?from=0")
        assert status == 200
        assert len(answer["blocks"]) == 1
        assert (await ask(session, "GET", f"{url}/v1/blocks/2"))[0] == 200

    run(scenario)


# -- limits -------------------------------------------------------------------------------------------------


def test_a_body_of_the_largest_size_is_read() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        text = json.dumps(BODIES["/v1/transactions"]).encode()
        body = text + b" " * (routes.BODY_SIZE_MAX - len(text))
        assert (await ask(session, "POST", f"{url}/v1/transactions", body, JSON))[0] == 200

    run(scenario)


@pytest.mark.parametrize(
    ("path", "key", "count_max"),
    [
        ("/v1/transactions", "transactions", submissions.TRANSACTIONS_MAX),
        ("/v1/relay", "operations", submissions.OPERATIONS_MAX),
    ],
)
def test_the_most_items_are_taken_and_one_more_is_refused(path: str, key: str, count_max: int) -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        def body(count: int, wait_ms: int = 0) -> dict[str, Any]:
            return {key: ["00"] * count, "wait_ms": wait_ms}

        _, most = await post(session, url + path, body(count_max, routes.WAIT_MS_MAX))
        assert "error" not in most or most["error"]["where"] != f"body.{key}"
        for wrong, where in (
            (body(count_max + 1), f"body.{key}"),
            (body(1, routes.WAIT_MS_MAX + 1), "body.wait_ms"),
        ):
            status, answer = await post(session, url + path, wrong)
            assert status == 400 and answer["error"]["where"] == where

    run(scenario)


@pytest.mark.parametrize("text", ["0", "0A", "0g", "0 0", " 00", "00\n", "\uff10\uff10"])
def test_hexadecimal_has_one_spelling(text: str) -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        status, answer = await post(session, f"{url}/v1/transactions", {"transactions": [text], "wait_ms": 0})
        assert (status, check_refusal(answer)) == (400, "encoding")

    run(scenario)


def test_a_body_of_very_many_values_is_refused_before_it_is_parsed() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        for count, found in ((BODY_VALUES_MAX - 3, "object"), (BODY_VALUES_MAX - 2, "values")):
            body = '{"transactions": [' + ",".join(["0"] * count) + '], "wait_ms": 0, "more": 0}'
            status, answer = await ask(session, "POST", f"{url}/v1/transactions", body, JSON)
            assert (status, check_refusal(answer)) == (400, "encoding")
            assert found in answer["error"]["expected"]

    run(scenario)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "localhost", "node.example", ""])
def test_only_loopback_is_listened_on(host: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigError) as refused:
            await Api(MemoryNode()).start(host, 0)
        assert "127.0.0.1" in refused.value.cure

    asyncio.run(scenario())
    check_loopback("127.0.0.1")
    check_loopback("::1")


def test_the_relay_route_is_rate_limited_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "RELAY_BURST", 2)
    monkeypatch.setattr(submissions, "RELAY_PER_SECOND", 1)

    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        body = BODIES["/v1/relay"]
        codes = [check_refusal((await post(session, f"{url}/v1/relay", body))[1]) for _ in range(3)]
        assert codes == ["encoding", "encoding", "rate-limited"]
        status, _ = await post(session, f"{url}/v1/relay", body)
        assert status == 429
        assert (await post(session, f"{url}/v1/transactions", BODIES["/v1/transactions"]))[0] == 200
        node.clock.now_ms += 1_000
        assert (await post(session, f"{url}/v1/relay", body))[0] == 400

    run(scenario)


# -- what the routes answer ----------------------------------------------------------------------------------


def test_each_transaction_of_a_batch_has_its_own_answer() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        good = make_transaction("hk-bureau", make_anchor(1))
        wrong_chain = make_transaction("hk-bureau", make_anchor(2), chain_id=bytes(32))
        forbidden = make_transaction("mainland-bank", make_anchor(3))
        listed = [
            good.encoded.hex(),
            "00",
            wrong_chain.encoded.hex(),
            forbidden.encoded.hex(),
            good.encoded.hex(),
        ]
        status, answer = await post(session, f"{url}/v1/transactions", {"transactions": listed, "wait_ms": 0})
        results = answer["results"]
        assert status == 200
        assert [each["state"] for each in results] == ["final", "refused", "refused", "refused", "final"]
        assert all(check_refusal({"error": each["error"]}) for each in results[1:4])
        assert results[2]["error"]["code"] == "wrong-chain"
        assert results[0] == results[4], "a transaction that is repeated is answered from what is final"
        assert (await ask(session, "GET", f"{url}/v1/transactions/{good.id.hex()}"))[1] == results[0]

    run(scenario)


def test_the_relay_carries_grants_and_withdrawals_only() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        grant = make_grant()

        async def relay(*operations: Operation) -> tuple[int, dict[str, Any]]:
            body = {"operations": [pack(each).hex() for each in operations], "wait_ms": 0}
            return await post(session, f"{url}/v1/relay", body)

        for refused in (make_anchor(), make_closing(grant)):
            status, answer = await relay(refused)
            assert (status, check_refusal(answer)) == (400, "transaction")
        assert (await relay(grant))[1]["state"] == "final"
        assert (await relay(make_withdrawal(grant)))[1]["state"] == "final"
        key, consent_id = grant.decoded().consent_key, grant.consent_id.hex()
        _, answer = await ask(session, "GET", f"{url}/v1/consents/{key}/{consent_id}")
        assert answer["record"]["ended"]["by"] == "holder"

    run(scenario)


def test_reads_answer_with_proofs_of_one_version() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        async def read(path: str) -> dict[str, Any]:
            status, answer = await ask(session, "GET", url + path)
            assert status == 200
            return answer

        present = await read(f"/v1/state/{member_key('hk-bureau').hex()}")
        member = await read("/v1/members/hk-bureau")
        assert present["value"] and present["absence"] is None
        assert {**present, "record": member["record"]} == member
        absent = await read(f"/v1/state/{HASH}")
        assert absent["value"] is None and absent["absence"] and absent["at"] == present["at"]
        assert {each["id"] for each in (await read("/v1/members"))["members"]} >= set(VALIDATORS)
        assert (await read("/v1/genesis"))["content"]["network"] == make_content().network
        status = await read("/v1/status")
        assert status["height"] == 1 and status["chain_id"] == make_content().chain_id.hex()
        assert status["version"] == release()
        assert (await read("/v1/health"), await read("/v1/ready")) == ({"health": "up"}, {"ready": True})
        blocks = (await read("/v1/blocks"))["blocks"]
        assert blocks == [await read("/v1/blocks/0"), await read("/v1/blocks/1")]
        assert blocks[0]["certificate"] is None
        unpack(QuorumCertificate, bytes.fromhex(blocks[1]["certificate"]))
        assert (await read("/v1/blocks?from=1&count=1"))["blocks"] == blocks[1:]
        assert (await read("/v1/blocks?from=2"))["blocks"] == []
        request = {**BODIES["/v1/evidence"]["request"], "root": make_anchor().root.hex()}
        found = await post(session, f"{url}/v1/evidence", {"request": request})
        unpack(Evidence, bytes.fromhex(found[1]["evidence"]))
        assert REPORT and len(node.requests) == 1
        assert (await post(session, f"{url}/v1/evidence", BODIES["/v1/evidence"]))[0] == 404

    run(scenario)


def test_a_node_that_waits_says_for_what() -> None:
    async def scenario() -> None:
        node = MemoryNode(waits_for="the first final block")
        async with serve(node) as url, aiohttp.ClientSession() as session:
            status, answer = await ask(session, "GET", f"{url}/v1/ready")
            assert (status, check_refusal(answer)) == (503, "not-ready")
            assert "the first final block" in answer["error"]["found"]
            assert (await ask(session, "GET", f"{url}/v1/health"))[0] == 200
            for path in (f"/v1/state/{HASH}", "/v1/members", "/v1/members/hk-bureau"):
                assert (await ask(session, "GET", url + path))[0] == 503
            assert (await ask(session, "GET", f"{url}/v1/members/nobody"))[0] == 404

    asyncio.run(scenario())


def test_the_description_lists_exactly_what_is_served() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        _, answer = await ask(session, "GET", f"{url}/v1/openapi.json")
        api = Api(MemoryNode())
        served = {
            (route.method.lower(), route.resource.canonical)
            for route in api._listener._runner.app.router.routes()
            if route.resource is not None
        }
        described = {(method, path) for path, found in answer["paths"].items() for method in found}
        assert answer["openapi"].startswith("3.1") and described == served
        for route in api.routes:
            operation = answer["paths"][route.path][route.method.lower()]
            named = {each["name"] for each in operation["parameters"]}
            assert named == {*route.path_names, *(route.query or {})}
            schema = (
                operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            )
            assert (set(schema["properties"]) if schema else None) == (
                set(route.body) if route.body else None
            )
            assert (route.method == "POST") == (route.path in BODIES)

    run(scenario)


def test_the_description_has_every_field_of_the_status() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        _, description = await ask(session, "GET", f"{url}/v1/openapi.json")
        _, status = await ask(session, "GET", f"{url}/v1/status")
        answer = description["paths"]["/v1/status"]["get"]["responses"]["200"]
        schema = answer["content"]["application/json"]["schema"]
        assert set(schema["required"]) == set(schema["properties"]) == set(status)
        assert [*faults(schema, status, description)] == []
        assert [*faults(schema, {**status, "version": 1}, description)] == [".version: not string"]
        assert [*faults(schema, {**status, "chain_id": "x"}, description)] != []

    run(scenario)


# -- events -------------------------------------------------------------------------------------------------


async def read_events(session: aiohttp.ClientSession, url: str, count: int, **headers: str) -> list[str]:
    """Return the ids of that many events."""
    found: list[str] = []
    async with session.get(url, headers=headers) as response:
        assert response.status == 200 and response.content_type == "text/event-stream"
        async for line in response.content:
            if line.startswith(b"id: "):
                found.append(line[4:].decode().strip())
            if len(found) == count and line == b"\n":
                return found
    raise AssertionError("the stream ended")


def test_events_resume_after_any_of_them_without_gap_or_repetition() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        node.extend(make_transaction("hk-bureau", make_anchor(1), make_anchor(2)))
        node.extend()
        everything = ["1.0", "1.1", "2.0", "2.1", "2.2", "3.0"]
        assert await read_events(session, f"{url}/v1/events?from=0", 6) == everything
        for index, cursor in enumerate(everything[:-1]):
            rest = everything[index + 1 :]
            assert await read_events(session, f"{url}/v1/events?from={cursor}", len(rest)) == rest
            resumed = await read_events(session, f"{url}/v1/events", len(rest), **{"Last-Event-ID": cursor})
            assert resumed == rest

    run(scenario)


def test_events_arrive_as_blocks_become_final() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        reading = asyncio.ensure_future(read_events(session, f"{url}/v1/events", 2))
        while node_events_waiting(node) == 0:
            await asyncio.sleep(0.01)
        node.extend(make_transaction("hk-bureau", make_anchor(1)))
        await node.notify()
        assert await reading == ["2.0", "2.1"]

    run(scenario)


def node_events_waiting(node: MemoryNode) -> int:
    return len(node.changed._waiters)


def test_a_subscriber_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WRITE_S", 0.2)

    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        for number in range(4):
            anchors = [make_anchor(1_000 * number + each + 1) for each in range(1_000)]
            assert not node.extend(make_transaction("hk-bureau", *anchors))
        big = node.ledger.blocks[-1].block
        assert sum(len(event) for event in events.block_events(big)) > 300_000
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            lazy.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(lazy, (host, int(port)))
            await loop.sock_sendall(lazy, b"GET /v1/events?from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await wait_for_metric(session, url, "luohu_event_subscribers 1.0")
            await wait_for_metric(session, url, "luohu_event_subscribers 0.0")

    monkeypatch.setattr(events, "block_events", repeat(events.block_events, 20))
    run(scenario)


def test_a_client_that_does_not_take_its_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_S", 0.2)

    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        node.extend(make_transaction("hk-bureau", *(make_anchor(number) for number in range(1, 1_000))))
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            lazy.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(lazy, (host, int(port)))
            await loop.sock_sendall(lazy, b"GET /v1/blocks HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            await asyncio.sleep(0.6)
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while part := await loop.sock_recv(lazy, 1_000_000):
                    received += len(part)
        async with session.get(f"{url}/v1/blocks") as response:
            assert received < 100 * len(await response.read()), "what was left of the answers is dropped"
        assert (await ask(session, "GET", f"{url}/v1/health"))[0] == 200

    run(scenario)


def repeat(make: Callable[..., Any], times: int) -> Callable[..., Any]:
    """Return what makes the same events many times over, to fill every buffer on the way."""
    return lambda block: (event for _ in range(times) for event in make(block))


def test_a_client_that_goes_away_within_its_body_is_no_failure_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with serve(MemoryNode()) as url, aiohttp.ClientSession() as session:
            host, port = url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            head = b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: 100\r\n\r\n{")
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
            line = 'luohu_requests_total{code="encoding",route="POST /v1/transactions",status="400"} 1.0'
            await asyncio.wait_for(wait_for_metric(session, url, line), PATIENCE_S)

    asyncio.run(scenario())
    assert "api.failure" not in caplog.text and "Traceback" not in caplog.text


def test_an_answer_keeps_no_frame_that_holds_what_was_sent() -> None:
    with pytest.raises(LedgerError) as caught:
        Transaction.decode(b"\xab" * 100)
    error = caught.value
    said = str(error)
    assert error.__cause__ is not None and error.__traceback__ is not None
    answer = Submission(b"", REFUSED, error=error)
    assert answer.error is error and str(error) == said
    assert all(kept is None for kept in (error.__cause__, error.__context__, error.__traceback__))


async def wait_for_metric(session: aiohttp.ClientSession, url: str, line: str) -> None:
    while True:
        async with session.get(f"{url}/metrics") as response:
            if line in (await response.text()).splitlines():
                return
        await asyncio.sleep(0.02)


def test_closing_ends_every_subscription() -> None:
    async def scenario() -> None:
        node = MemoryNode()
        async with aiohttp.ClientSession() as session:
            async with serve(node) as url:
                response = await session.get(f"{url}/v1/events")
                assert response.status == 200
            async with asyncio.timeout(5):
                await response.read()

    asyncio.run(scenario())


def test_no_route_is_left_out_of_these_tests() -> None:
    text = Path(__file__).read_text()
    for route in Api(MemoryNode()).routes:
        assert route.path.partition("/{")[0] in text, route.path
