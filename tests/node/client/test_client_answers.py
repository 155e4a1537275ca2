"""A client against answers that no honest node gives: one family of errors, bounded, and nothing believed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import Json
from ledger.proofs import EvidenceRequest
from node.client import client as client_module
from node.client.client import Client, Result
from node.errors import BadAnswer, ClientError, RefusedByNode, Unreachable
from node.evidence import AskedAnchor, DocumentsRequest
from tests.support.consortium import make_anchor, make_grant, make_transaction
from tests.support.memory_node import MemoryNode, serve

T = TypeVar("T")
KEY = PrivateKey.from_seed(bytes(32)).public
REQUEST = EvidenceRequest("hk-bureau", bytes(32), bytes(32), None, None, 0)
DOCUMENTS = DocumentsRequest((AskedAnchor("hk-bureau", bytes(32), (bytes(32),)),), None, None, 0)
TRANSACTION = make_transaction("hk-bureau", make_anchor())


async def follow_one(client: Client) -> None:
    async for _ in client.follow("0"):
        return


def submit_one(client: Client) -> Awaitable[list[Result]]:
    return client.submit([TRANSACTION], wait_ms=0)


CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "submit": submit_one,
    "relay": lambda client: client.relay([make_grant()], wait_ms=0),
    "evidence": lambda client: client.evidence(REQUEST),
    "documents": lambda client: client.documents_evidence(DOCUMENTS),
    "member": lambda client: client.member("hk-bureau"),
    "members": lambda client: client.members(),
    "consent": lambda client: client.consent(KEY, bytes(32)),
    "blocks": lambda client: client.blocks(0),
    "block": lambda client: client.block(1),
    "genesis": lambda client: client.genesis(),
    "status": lambda client: client.status(),
    "follow": follow_one,
}


def http(status: int, body: bytes, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answer(value: Json, status: int = 200) -> bytes:
    return http(status, json.dumps(value).encode(), "Content-Type: application/json")


def refusal(**changes: Json) -> Json:
    error: dict[str, Json] = {"code": "c", "where": "w", "expected": "e", "found": "f", "cure": "do it"}
    return {"error": {**error, **changes}}


RESULT: dict[str, Json] = {
    "id": TRANSACTION.id.hex(),
    "state": "final",
    "height": 1,
    "time_ms": 1,
    "error": None,
}
ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01\x02\x00",
    "cut off": b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{",
    "no JSON": http(200, b"<html>"),
    "not UTF-8": http(200, b'{"value": "\xff"}'),
    "a list": answer([]),
    "null": answer(None),
    "empty": answer({}),
    "repeated keys": http(200, b'{"value": null, "value": null}'),
    "deep": http(200, b"[" * 200_000),
    "gzip that is none": http(200, b"{}", "Content-Encoding: gzip"),
    "elsewhere": http(302, b"", "Location: http://127.0.0.1:9/"),
    "a failure": answer(refusal(), 500),
    "a refusal without facts": answer({"error": {}}, 400),
    "a refusal of numbers": answer(refusal(code=1), 400),
    "wrong types": answer(
        {
            "results": [1],
            "value": 1,
            "members": [{}],
            "blocks": [1],
            "evidence": 1,
            "header": 1,
            "transactions": 1,
        }
    ),
    "wrong bytes": answer(
        {
            "results": [{**RESULT, "id": "zz"}],
            "id": "00",
            "state": "other",
            "value": "c0",
            "members": [{"id": "x"}],
            "blocks": [{"header": "00", "transactions": [], "certificate": None}],
            "evidence": "00",
            "header": "00",
            "transactions": ["00"],
        }
    ),
    "too many": answer(
        {"results": [RESULT] * 2, "blocks": [{}] * 65, "transactions": ["00"] * 9_000, "header": ""}
    ),
    "a silent stream": http(200, b": waiting\n\n", "Content-Type: text/event-stream")[:-2],
    "an event without data": http(200, b"id: 1.0\n\n"),
    "an event that is no JSON": http(200, b"id: 1.0\nevent: block\ndata: {\n\n"),
    "an event that is no object": http(200, b"id: 1.0\nevent: block\ndata: 1\n\n"),
    "an event that is not UTF-8": http(200, b"id: \xff\nevent: block\ndata: {}\n\n"),
}


@asynccontextmanager
async def liar(data: bytes) -> AsyncIterator[str]:
    """Serve these bytes to whoever asks anything."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


def ask(data: bytes, call: Callable[[Client], Awaitable[T]]) -> T:
    async def whole() -> T:
        async with liar(data) as url, Client.connect(url) as client:
            return await call(client)

    return asyncio.run(asyncio.wait_for(whole(), 10))


@pytest.mark.parametrize("fault", list(ANSWERS))
def test_an_answer_that_no_node_gives_is_an_error_of_the_client(fault: str) -> None:
    for name, call in CALLS.items():
        try:
            ask(ANSWERS[fault], call)
        except ClientError as error:
            assert error.expected and error.found and error.cure, name
            assert len(str(error)) < 6_000
        else:
            # A stream that ends without one whole event yields none, and claims nothing.
            assert name == "follow", f"{name} took {fault}"
            assert b"event:" not in ANSWERS[fault]


def test_a_result_for_another_transaction_is_not_believed() -> None:
    other = {**RESULT, "id": "11" * 32}
    wrongs: tuple[dict[str, Json], ...] = (
        other,
        {**RESULT, "id": ""},
        {**RESULT, "height": None},
        {**RESULT, "height": True},
        {**RESULT, "state": "refused"},
        {**RESULT, "error": {"code": "c"}},
    )
    for wrong in wrongs:
        with pytest.raises(BadAnswer):
            ask(answer({"results": [wrong]}), CALLS["submit"])
    (result,) = ask(answer({"results": [RESULT]}), submit_one)
    assert (result.id, result.height) == (TRANSACTION.id, 1)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, RefusedByNode), (404, RefusedByNode), (429, RefusedByNode), (503, Unreachable)]
)
def test_a_refusal_is_told_from_a_node_that_cannot_answer(status: int, kind: type[ClientError]) -> None:
    with pytest.raises(kind) as refused:
        ask(answer(refusal(), status), CALLS["status"])
    assert (refused.value.code, refused.value.cure) == ("c", "do it")


def test_a_node_cannot_write_to_the_readers_terminal() -> None:
    hostile = "\x1b]0;owned\x07\u202e\ud800" + "x" * 100_000
    with pytest.raises(RefusedByNode) as refused:
        ask(answer(refusal(found=hostile), 400), CALLS["status"])
    assert refused.value.found.isprintable() and len(refused.value.found) < 2_000
    refused.value.found.encode()


def test_an_answer_past_the_size_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SIZE_MAX", 1_000)
    refused = answer(refusal(cure="x" * 800), 400)
    with pytest.raises(RefusedByNode):
        ask(refused, CALLS["status"])
    with pytest.raises(BadAnswer, match="more"):
        ask(http(400, b" " * 1_001), CALLS["status"])


def test_a_node_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_S", 0.1)
    monkeypatch.setattr(client_module, "SILENCE_S", 0.1)

    async def scenario() -> None:
        listener = await asyncio.start_server(hang, "127.0.0.1", 0)
        async with listener:
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            async with Client.connect(url) as client:
                for name in ("status", "follow"):
                    with pytest.raises(Unreachable):
                        await CALLS[name](client)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_events_are_followed_from_any_cursor() -> None:
    async def scenario() -> None:
        node = MemoryNode()
        node.extend(make_transaction("hk-bureau", make_anchor(1), make_anchor(2)))
        node.extend()
        async with serve(node) as url, Client.connect(url) as client:
            seen = []
            async for event in client.follow("0"):
                seen.append((event.kind, event.cursor))
                if len(seen) == 4:
                    break
            assert seen == [("operation", "1.0"), ("operation", "1.1"), ("block", "1.2"), ("block", "2.0")]
            async for event in client.follow("1.0"):
                assert event.cursor == "1.1" and event.content["sender"] == "hk-bureau"
                break
            with pytest.raises(RefusedByNode):
                await follow_from(client, "x")
            assert {member.id for member in await client.members()} >= {"hk-bureau", "auditor"}
            assert (await client.block(1))[0].header.height == 1

    asyncio.run(asyncio.wait_for(scenario(), 10))


async def follow_from(client: Client, cursor: str) -> None:
    async for _ in client.follow(cursor):
        return
