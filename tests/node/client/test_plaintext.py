"""What leaves a machine while a document is anchored, refreshed and verified says nothing of the document.

Everything is captured above TLS: each message between nodes before it is framed and encrypted, each byte between
clients and the API. The document holds a random marker; no eight bytes of it, and nothing of its hashes, may be
in what was captured, in any spelling that a program here could give it.
"""

import asyncio
import base64
import hashlib
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType
from aiohttp._websocket.writer import WebSocketWriter

from ledger.encoding.codec import decode
from ledger.proofs import Proof
from ledger.requests import Request
from ledger.trees.merkle import CHUNK_SIZE, content_root
from ledger.trust import TrustedRoot
from ledger.verifier import Verifier
from node.client.client import Client
from node.client.holder import grant, make_consent, present, refresh, withdraw
from node.client.issuing.draft import draft_of_file, proof_path_of
from node.client.issuing.outbox import Outbox
from node.client.issuing.register import REGISTER, Register
from node.client.ledgerclient import LedgerClient
from node.client.nodes import Nodes
from node.client.recipient import fresh_nonce, record_verification
from node.client.wallet import COST_EXPONENT_MIN, Wallet
from node.clock import SystemClock
from node.files.keyfiles import Passphrase
from node.messages import WantBlock, WantFinal, WantTransactions, encode_peer_message
from tests.support.asking import request_with
from tests.support.office import loan_notice
from tests.support.running_network import REPORT, RunningNetwork, key_of, now_ms, run_network

pytestmark = pytest.mark.slow

WINDOW = 8
DAY_MS = 86_400_000
ISSUER, BANK, URL_OF = "hk-bureau", "mainland-bank", "sz-operator"

PEER_KINDS = {
    "consensus",
    "proposal",
    "gossip",
    "want-transactions",
    "want-block",
    "block",
    "want-final",
    "final-blocks",
}
CONSENSUS_KINDS = {"vote", "certificate", "status", "latest-vote-request", "latest-vote-answer"}


# -- the search -------------------------------------------------------------------------------------------


def spellings(window: bytes) -> Iterator[bytes]:
    """Yield what a window of bytes looks like raw, in hexadecimal and in base64, wherever it stands."""
    yield window
    yield window.hex().encode()
    yield window.hex().upper().encode()
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + window)
        # Only the characters that depend on nothing but the window: six bits each.
        first, last = -(-8 * offset // 6), 8 * (offset + len(window)) // 6
        yield whole[first:last]
        yield whole[first:last].translate(bytes.maketrans(b"+/", b"-_"))


def traces(secret: bytes) -> set[bytes]:
    """Return all spellings of all windows of a secret."""
    return {
        spelling
        for start in range(len(secret) - WINDOW + 1)
        for spelling in spellings(secret[start : start + WINDOW])
    }


def find_traces(captured: bytes, hidden: list[bytes]) -> list[bytes]:
    """Return what of the secrets is in captured bytes."""
    return [trace for secret in hidden for trace in traces(secret) if trace in captured]


# -- the capture ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Capture:
    """What nodes sent to each other, pings and closes apart, and what passed between clients and the API."""

    messages: list[bytes] = field(default_factory=list)
    control: list[bytes] = field(default_factory=list)
    http: list[bytearray] = field(default_factory=list)

    def everything(self) -> Iterator[bytes]:
        yield from self.messages
        yield from self.control
        yield from map(bytes, self.http)

    def find(self, hidden: list[bytes]) -> list[bytes]:
        return [trace for each in self.everything() for trace in find_traces(each, hidden)]

    def is_silent_since(self, mark: tuple[int, int]) -> bool:
        return mark == self.mark()

    def mark(self) -> tuple[int, int]:
        return len(self.messages), sum(map(len, self.http))

    def peer_kinds(self) -> tuple[set[str], set[str]]:
        """Return the kinds of peer messages, and of consensus messages inside them, that were captured."""
        peer, consensus = set(), set()
        for message in self.messages:
            if message.startswith(b"luohu-peer"):
                peer.add("hello")
                continue
            value = decode(message)
            assert isinstance(value, tuple)
            peer.add(str(value[0]))
            if value[0] in ("consensus", "proposal"):
                assert isinstance(value[1], bytes)
                inner = decode(value[1])
                assert isinstance(inner, tuple)
                consensus.add(str(inner[0]))
        return peer, consensus


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Capture:
    """Capture every WebSocket message of this process as it is sent, before masking and encryption."""
    capture = Capture()
    send_frame = WebSocketWriter.send_frame

    async def note_and_send(
        writer: WebSocketWriter, message: bytes, opcode: int, compress: int | None = None
    ) -> None:
        (capture.messages if opcode == WSMsgType.BINARY else capture.control).append(bytes(message))
        await send_frame(writer, message, opcode, compress)

    monkeypatch.setattr(WebSocketWriter, "send_frame", note_and_send)
    return capture


@asynccontextmanager
async def tapped(capture: Capture, url: str) -> AsyncIterator[str]:
    """Yield a URL that leads to the same API; all that passes, in both directions, is captured."""
    host, port = url.removeprefix("http://").split(":")
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = bytearray()
        capture.http.append(seen)
        try:
            while data := await reader.read(65_536):
                seen += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(pump(source, target))
            pumps.add(task)
            task.add_done_callback(pumps.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


# -- the story --------------------------------------------------------------------------------------------


def make_request(running: RunningNetwork, trust: TrustedRoot) -> Request:
    return request_with(
        key_of(BANK),
        chain_id=running.genesis.content.chain_id,
        nonce=fresh_nonce(),
        notice_version=loan_notice().version,
        until_ms=now_ms() + DAY_MS,
        answer_by_ms=now_ms() + DAY_MS,
        pin=trust.newest_pin(now_ms()),
    )


async def tell(running: RunningNetwork, capture: Capture, client: Client, document: Path) -> None:
    """Anchor, consent, refresh, present, verify, record, withdraw, as the demo does."""
    trust = TrustedRoot(1, running.genesis, ())
    passphrase = Passphrase.from_text(secrets.token_hex(8))
    folder = document.parent
    with Wallet.create(folder / "wallet", passphrase, cost_exponent=COST_EXPONENT_MIN) as wallet:
        draft = draft_of_file(
            document, schema=REPORT, holder_key=wallet.derive_holder_key(), expires_ms=now_ms() + DAY_MS
        )
        with Register.open(folder / REGISTER, chain_id=trust.chain_id, issuer=ISSUER) as register:
            register.collect([draft], now_ms=now_ms())
            await Outbox(
                register, Nodes([client]), key=key_of(ISSUER), trust=trust, clock=SystemClock()
            ).settle()
        ledger = LedgerClient(Nodes([client]), trust, now_ms)
        request = make_request(running, trust)
        consent = await make_consent(ledger, request, wallet, now_ms=now_ms())
        await grant(ledger, consent)
        proof = Proof.decode(proof_path_of(document).read_bytes())
        presented = present((await refresh(ledger, proof, consent)).value, request, consent, wallet)
    verify_silently(capture, trust, document.read_bytes(), presented, request)
    await record_verification(
        ledger, presented, member=BANK, key=key_of(BANK), outcome="verified", now_ms=now_ms()
    )
    await withdraw(ledger, consent)
    await refresh(ledger, presented, consent)


def verify_silently(
    capture: Capture, trust: TrustedRoot, document: bytes, proof: Proof, request: Request
) -> None:
    """Verify as a bank does, and check that the verifier opens no socket and sends nothing."""
    mark = capture.mark()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "socket", _no_socket)
        patched.setattr(socket, "create_connection", _no_socket)
        Verifier(trust).verify(document, proof.encode(), request=request, now_ms=now_ms())
    assert capture.is_silent_since(mark)


def _no_socket(*_arguments: object, **_named: object) -> socket.socket:
    raise AssertionError("verification opens a socket")


async def knock_at_every_route(running: RunningNetwork, url: str) -> None:
    """Read every route of the API that answers, the description of all of them included."""
    paths = [f"/v1/members/{BANK}", "/v1/blocks/1", "/v1/blocks?from=0&count=64"]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/v1/openapi.json") as response:
            described = (await response.json())["paths"]
        paths += [path for path, methods in described.items() if "get" in methods and "{" not in path]
        for path in set(paths) - {"/v1/events"}:
            async with session.get(url + path) as response:
                assert response.status == 200, path
                assert "Content-Encoding" not in response.headers, (
                    "compressed bytes would hide what they hold"
                )
                await response.read()
        height = running.processes[URL_OF].store.tip().header.height
        async with session.get(f"{url}/v1/events?from=0") as response:
            while f'"height": {height}'.encode() not in await response.content.readline():
                continue


async def ask_for_everything(running: RunningNetwork, capture: Capture) -> None:
    """Have one node ask another for each thing that one may ask for."""
    process, other = running.processes["sz-operator"], "hk-operator"
    block = process.store.load_block(1)
    assert block is not None
    ids = tuple(
        transaction.id
        for height in range(1, process.store.tip().header.height + 1)
        if (found := process.store.load_block(height)) is not None
        for transaction in found.transactions
    )
    for question in (WantFinal(1, 64), WantBlock(block.hash), WantTransactions(ids)):
        assert process._network.send(other, encode_peer_message(question))
    deadline = asyncio.get_running_loop().time() + 10
    while not {"block", "final-blocks"} <= capture.peer_kinds()[0]:
        assert asyncio.get_running_loop().time() < deadline, "the answers come"
        await asyncio.sleep(0.01)


def test_nothing_of_a_document_is_sent_while_it_is_anchored_refreshed_and_verified(
    tmp_path: Path, capture: Capture
) -> None:
    marker = secrets.token_bytes(32)
    # The marker stands in the middle of a chunk, and across the border of two.
    content = b"%PDF-1.7 SAMPLE " + marker + bytes(CHUNK_SIZE - 64) + marker + b" end"
    document = tmp_path / "marked.pdf"
    document.write_bytes(content)
    chunks = [content[start : start + CHUNK_SIZE] for start in range(0, len(content), CHUNK_SIZE)]
    hidden = [marker, hashlib.sha256(content).digest(), content_root(chunks)[1]]
    hidden += [hashlib.sha256(chunk).digest() for chunk in chunks]

    async def live() -> None:
        async with (
            run_network(tmp_path / "network") as running,
            tapped(capture, running.url(URL_OF)) as url,
        ):
            async with Client.connect(url) as client:
                await tell(running, capture, client, document)
            await knock_at_every_route(running, url)
            await ask_for_everything(running, capture)
            assert capture.find(hidden) == []
            check_that_all_was_seen(capture)
            check_that_a_trace_would_be_noticed(capture, hidden)
            await check_that_the_wires_are_tapped(running, capture, url, marker)

    asyncio.run(live())


def check_that_all_was_seen(capture: Capture) -> None:
    """Check that each kind of message was captured: between nodes, and at each route of the story."""
    peer, consensus = capture.peer_kinds()
    assert peer >= PEER_KINDS | {"hello"}
    assert consensus >= CONSENSUS_KINDS
    http = b"".join(map(bytes, capture.http))
    for line in (
        b"POST /v1/transactions HTTP/1.1",
        b"POST /v1/relay HTTP/1.1",
        b"POST /v1/evidence HTTP/1.1",
        b"GET /v1/state/",
        b"GET /v1/genesis",
        b"GET /metrics",
        b"HTTP/1.1 200 OK",
        b'"state": "final"',
        b'"evidence": "',
        b"event: operation",
    ):
        assert line in http, line


def check_that_a_trace_would_be_noticed(capture: Capture, hidden: list[bytes]) -> None:
    """Plant one window of each secret, in each spelling, inside captured messages of each kind."""
    longest = max(capture.messages, key=len)
    for carrier in (longest, bytes(max(capture.http, key=len))):
        assert find_traces(carrier, hidden) == []
        for secret in hidden:
            for start in range(len(secret) - WINDOW + 1):
                for planted in plants(secret[start : start + WINDOW]):
                    place = secrets.randbelow(len(carrier) + 1)
                    kept = carrier[place : place + 64]
                    assert find_traces(carrier[:place][-64:] + planted + kept, [secret]), planted


def plants(window: bytes) -> Iterator[bytes]:
    """Yield a window as a program would write it, among other bytes, at each alignment."""
    yield window
    yield window.hex().encode()
    yield window.hex().upper().encode()
    for before in range(3):
        around = secrets.token_bytes(before) + window + secrets.token_bytes(4)
        yield base64.b64encode(around)
        yield base64.urlsafe_b64encode(around)


async def check_that_the_wires_are_tapped(
    running: RunningNetwork, capture: Capture, url: str, marker: bytes
) -> None:
    """Send the marker itself over each wire, and find it in what was captured there."""
    async with aiohttp.ClientSession() as session:
        body = b'{"transactions": ["' + marker.hex().encode() + b'"], "wait_ms": 0}'
        headers = {"Content-Type": "application/json"}
        async with session.post(f"{url}/v1/transactions", data=body, headers=headers) as response:
            assert (await response.json())["results"][0]["state"] == "refused"
    assert any(find_traces(bytes(each), [marker]) for each in capture.http)
    assert not any(find_traces(each, [marker]) for each in capture.messages)
    running.processes["sz-operator"]._network.send("hk-operator", pack_marked(marker))
    deadline = asyncio.get_running_loop().time() + 10
    while not any(find_traces(each, [marker]) for each in capture.messages[-64:]):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def pack_marked(marker: bytes) -> bytes:
    """Return a lawful message with the marker in it: a question for a block that nobody has."""
    return encode_peer_message(WantBlock(marker))
