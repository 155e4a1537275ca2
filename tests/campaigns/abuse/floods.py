"""The floods: what an attacker does to one node for some seconds, from a process of its own.

`python -m tests.campaigns.abuse.floods KIND TARGET SECONDS`, TARGET being a JSON object: see `Target`. Everything here
is bounded in count and time and speaks to loopback only.

Rule 1: a flood goes on whatever it is answered; what breaks is begun again.
Rule 2: an attacker from outside has no key; one from inside is a registered member with its node's certificate.
"""

import asyncio
import contextlib
import hashlib
import io
import itertools
import json
import random
import sys
import time
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import aiohttp

from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import Json
from ledger.proofs import PROOF_MAGIC
from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction, TransactionBody
from node.evidence import DOCUMENTS_MAX
from node.home.development import development_identity
from node.messages import CATCH_UP_BLOCKS_MAX, Gossip, WantFinal, encode_peer_message
from node.network.peers import PeerNetwork
from node.network.registry import Peer, PeerKind
from node.network.tls import make_client_context, make_identity
from tests.campaigns.chaos.founding import SCHEMA, member_key

LOOPBACK = "127.0.0.1"
CONNECTIONS = 400
SLOW = 300
BODIES = 24
BODY_SIZE = 5 * 1024 * 1024
SUBSCRIBERS = 80
READERS = 16
SUBMITTERS = 8
BATCH = 500
GOSSIP_BATCH = 4_000
IDLE = 600
FORMS = 160
WAITERS = 300
VALIDITY_MS = 600_000


@dataclass(frozen=True, slots=True)
class Target:
    """The node under attack, the recipient's service beside it, and the member who attacks from inside."""

    chain_id: str
    member: str
    api_port: int
    peer_port: int
    insider: str
    forms_port: int = 0

    def to_json(self) -> str:
        """Return the command line's form."""
        return json.dumps(asdict(self))


Flood = Callable[[Target], Awaitable[None]]


async def _forever(work: Callable[[], Awaitable[None]], count: int, pause_s: float = 0.01) -> None:
    """Do this that many times at once, and again whenever one ends or breaks."""

    async def again() -> None:
        while True:
            with contextlib.suppress(OSError, aiohttp.ClientError, asyncio.IncompleteReadError, TimeoutError):
                await work()
            await asyncio.sleep(pause_s)

    await asyncio.gather(*(again() for _ in range(count)))


async def _hold(port: int, beginning: bytes, drip: bytes = b"", seconds: float = 1.0) -> None:
    """Connect, say this, then one more byte now and then, never reading."""
    _, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(beginning)
        while not writer.transport.is_closing():
            await asyncio.sleep(seconds)
            writer.write(drip)
            await writer.drain()
    finally:
        writer.transport.abort()


async def _hold_until_cut_off(port: int, beginning: bytes, drip: bytes = b"", seconds: float = 0.2) -> None:
    """Connect, say this, then a little more now and then; end the moment the other side does."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)

    async def speak() -> None:
        writer.write(beginning)
        while drip:
            await asyncio.sleep(seconds)
            writer.write(drip)

    speaking = asyncio.create_task(speak())
    try:
        while await reader.read(65_536):
            pass
    finally:
        speaking.cancel()
        writer.transport.abort()


async def _refilled(port: int, count: int, *beginnings: bytes, drip: bytes = b"") -> None:
    """Hold so many connections that begin in turn like this, each come back the moment it is cut off."""
    turns = itertools.cycle(beginnings)
    await _forever(lambda: _hold_until_cut_off(port, next(turns), drip), count, pause_s=0.0)


# -- from outside, at the API -----------------------------------------------------------------------------


async def connections(target: Target) -> None:
    """Connections that say nothing."""
    await _forever(lambda: _hold(target.api_port, b""), CONNECTIONS)


async def slow_headers(target: Target) -> None:
    """Headers of one byte a second."""
    head = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    await _forever(lambda: _hold(target.api_port, head, b"a"), SLOW)


async def slow_bodies(target: Target) -> None:
    """Bodies that are announced large and come one byte a second."""
    head = (
        b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n{" % BODY_SIZE
    )
    await _forever(lambda: _hold(target.api_port, head, b" "), SLOW)


_HEAD = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n"
_BODY = (
    b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n{"
)


async def half_heads(target: Target) -> None:
    """Half heads, refilled at once: the flood of the field."""
    await _refilled(target.api_port, IDLE, _HEAD)


async def half_heads_and_bodies(target: Target) -> None:
    """Half heads beside half bodies, small and large, all dripping, refilled at once."""
    beginnings = (_HEAD, _BODY % 1_000, _HEAD + b"X: ", _BODY % BODY_SIZE)
    await _refilled(target.api_port, IDLE, *beginnings, drip=b" ")


async def idle_connections(target: Target) -> None:
    """Connections that ask once and then say nothing, refilled at once."""
    await _refilled(target.api_port, IDLE, _HEAD + b"\r\n")


async def endless_heads(target: Target) -> None:
    """Heads of very many long fields."""
    await _refilled(target.api_port, IDLE, _HEAD, drip=b"X: " + b"a" * 8_000 + b"\r\n")


async def unread_answers(target: Target) -> None:
    """The largest answers, in one go, that nobody reads."""
    head = b"GET /v1/blocks?from=0&count=64 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await _forever(lambda: _hold(target.api_port, head * 30, b"\r\n", 0.5), IDLE)


async def pipelining(target: Target) -> None:
    """Requests by the thousand in one go, whose answers are read."""
    await _refilled(target.api_port, READERS, (_HEAD + b"\r\n") * 2_000, drip=_HEAD + b"\r\n")


async def subscribers(target: Target) -> None:
    """Subscribers who read, and come back the moment they are cut off."""
    await _refilled(target.api_port, IDLE, b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")


async def giant_bodies(target: Target) -> None:
    """The largest bodies that are taken, full of transactions that are none."""
    item = '"' + "ab" * 1_000_000 + '"'
    body = '{"transactions": [' + ", ".join([item, item]) + '], "wait_ms": 0}'
    await _post_forever(target, [body], BODIES)


async def deep_bodies(target: Target) -> None:
    """Large bodies of very many small values."""
    body = '{"transactions": [' + ",".join(["[]"] * (BODY_SIZE // 3)) + '], "wait_ms": 0}'
    await _post_forever(target, [body], BODIES)


async def events_unread(target: Target) -> None:
    """Subscriptions to everything since the first block that nobody reads."""
    head = b"GET /v1/events?from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await _forever(lambda: _hold(target.api_port, head, b"", 5.0), SUBSCRIBERS)


async def block_ranges(target: Target) -> None:
    """The largest ranges of blocks, again and again."""
    url = f"http://{LOOPBACK}:{target.api_port}/v1/blocks?from=1&count=64"
    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            async with session.get(url) as response:
                await response.read()

        await _forever(ask, READERS)


async def document_questions(target: Target) -> None:
    """Questions for evidence of as many documents as one may ask about, again and again."""
    url = f"http://{LOOPBACK}:{target.api_port}"
    commitments = [number.to_bytes(32, "big").hex() for number in range(DOCUMENTS_MAX)]
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session:
        issuer, root = await _find_anchor(session, url)
        asked: Json = {"issuer": issuer, "root": root.hex(), "commitments": [*commitments]}
        request: dict[str, Json] = {"type": "documents-request", "anchors": [asked], "from_epoch": 0}
        content = json.dumps({"request": {**request, "consent_key": None, "consent_id": None}}).encode()

        async def ask() -> None:
            async with session.post(
                f"{url}/v1/evidence/documents", data=content, headers=headers
            ) as response:
                await response.read()

        await _forever(ask, READERS)


async def _find_anchor(session: aiohttp.ClientSession, url: str) -> tuple[str, bytes]:
    """Return issuer and root of an anchor, once there is one: everybody can read them."""
    height = 0
    while True:
        async with session.get(f"{url}/v1/blocks?from={height}") as response:
            blocks = (await response.json()).get("blocks", [])
        for encoded in (each for block in blocks for each in block["transactions"]):
            body = Transaction.decode(bytes.fromhex(encoded)).body
            for operation in body.operations:
                if isinstance(operation, AnchorBatch):
                    return body.sender, operation.root
        height += len(blocks)
        await asyncio.sleep(0.05)


async def forged_spam(target: Target) -> None:
    """Transactions of a member with signatures that are not its own."""
    await _post_forever(
        target, [_submission(target, forged=True, seed=seed) for seed in range(12)], SUBMITTERS
    )


async def _post_forever(target: Target, contents: list[str], count: int) -> None:
    url = f"http://{LOOPBACK}:{target.api_port}/v1/transactions"
    encoded = itertools.cycle([content.encode() for content in contents])
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session:

        async def post() -> None:
            async with session.post(url, data=next(encoded), headers=headers) as response:
                await response.read()

        await _forever(post, count)


# -- from outside, at the recipient's service --------------------------------------------------------------

_FORM = (
    b"POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: %d\r\n\r\n"
)
_PART = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'


async def half_forms(target: Target) -> None:
    """Forms of a byte in four seconds, and half heads beside them, refilled at once: the flood of the field."""
    begun = _FORM % 10**9 + _PART % b"document"
    await _refilled(target.forms_port, FORMS, begun, begun, _FORM[:60], drip=b"x")


async def large_parts(target: Target) -> None:
    """The largest parts that are held, and large documents, which stop before they end."""
    pair, document = (_FORM % 10**9 + _PART % name + bytes(8 * 1024**2) for name in (b"pair", b"document"))
    await _refilled(target.forms_port, 40, pair, document, drip=b"x")


async def bombs(target: Target) -> None:
    """Bundles that unpack to as much as a bundle may, two hundred times their size."""
    calls = [_bomb(size) for size in (100 * 1024**2, 400 * 1024**2)]
    await _refilled(target.forms_port, 40, *calls)


def _bomb(size: int) -> bytes:
    document = random.Random(1).randbytes(size // 170) + bytes(size)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", document)
        archive.writestr("a.txt.proof", PROOF_MAGIC + b"none")
    body = _PART % b"pair" + written.getvalue() + b"\r\n" + _PART % b"request" + b"r\r\n--b--\r\n"
    return _FORM % len(body) + body


# -- from inside: a member's own transactions ---------------------------------------------------------------


async def member_spam(target: Target) -> None:
    """One member's valid transactions, as many as the node takes."""
    url = f"http://{LOOPBACK}:{target.api_port}/v1/transactions"
    seeds = itertools.count(1_000 + random.SystemRandom().randrange(10**9))
    async with aiohttp.ClientSession() as session:

        async def post() -> None:
            content = _submission(target, forged=False, seed=next(seeds), count=100)
            headers = {"Content-Type": "application/json"}
            async with session.post(url, data=content.encode(), headers=headers) as response:
                await response.read()

        await _forever(post, SUBMITTERS)


async def long_waits(target: Target) -> None:
    """One transaction, submitted again and again by very many who wait for it, and for others that never come."""
    url = f"http://{LOOPBACK}:{target.api_port}/v1/transactions"
    seeds = itertools.count(random.SystemRandom().randrange(10**9))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def wait() -> None:
            made = _transactions(target, forged=False, seed=next(seeds), count=1)
            content = json.dumps({"transactions": [each.hex() for each in made], "wait_ms": 60_000})
            headers = {"Content-Type": "application/json"}
            async with session.post(url, data=content, headers=headers) as response:
                await response.read()

        await _forever(wait, WAITERS)


def _submission(target: Target, *, forged: bool, seed: int, count: int = BATCH) -> str:
    made = [each.hex() for each in _transactions(target, forged=forged, seed=seed, count=count)]
    return json.dumps({"transactions": made, "wait_ms": 0})


def _transactions(target: Target, *, forged: bool, seed: int, count: int) -> list[bytes]:
    key = PrivateKey.from_seed(bytes(32)) if forged else member_key(target.insider)
    valid_until_ms = time.time_ns() // 1_000_000 + VALIDITY_MS
    roots = (hashlib.sha256(f"{seed} {number} {forged}".encode()).digest() for number in range(count))
    chain_id = bytes.fromhex(target.chain_id)
    return [
        Transaction.sign(
            TransactionBody(chain_id, target.insider, valid_until_ms, (AnchorBatch(root, 1, SCHEMA, None),)),
            key,
        ).encoded
        for root in roots
    ]


# -- at the peer port ---------------------------------------------------------------------------------------


async def half_open(target: Target) -> None:
    """Connections to the peer port that never begin the handshake."""
    await _forever(lambda: _hold(target.peer_port, b"", b"", 5.0), CONNECTIONS)


async def half_handshakes(target: Target) -> None:
    """A first TLS record that is never finished, a byte a second."""
    await _forever(lambda: _hold(target.peer_port, b"\x16\x03\x01\x02\x00\x01", b"\x00"), SLOW)


async def garbage(target: Target) -> None:
    """Bytes that are no TLS."""
    junk = random.Random(1).randbytes(64 * 1024)
    await _forever(lambda: _hold(target.peer_port, junk, junk, 0.05), 32)


async def strangers(target: Target) -> None:
    """Whole handshakes with a certificate that nobody pins, again and again, and half ones refilled at once."""
    identity = make_identity("stranger")
    pinned = development_identity(target.member).certificate
    context = make_client_context(identity, [pinned])

    async def knock() -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, target.peer_port, ssl=context)
        try:
            await reader.read(1)
        finally:
            writer.transport.abort()

    hello = b"\x16\x03\x01\x02\x00\x01"
    await asyncio.gather(
        _forever(knock, READERS),
        _refilled(target.peer_port, SLOW, hello, b"", drip=b"\x00"),
    )


async def churn(target: Target) -> None:
    """Connections to the peer port that end as soon as they begin."""

    async def knock() -> None:
        _, writer = await asyncio.open_connection(LOOPBACK, target.peer_port)
        writer.transport.abort()

    await _forever(knock, READERS, pause_s=0.0)


async def half_hellos(target: Target) -> None:
    """A member's node shows its certificate, opens very many connections, and says no hello on any."""
    pinned = development_identity(target.member).certificate
    context = make_client_context(development_identity(target.insider), [pinned])

    async def knock() -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, target.peer_port, ssl=context)
        try:
            writer.write(b"GET /luohu/peer HTTP/1.1\r\nHost: localhost\r\n")
            await reader.read(1)
        finally:
            writer.transport.abort()

    await _forever(knock, SLOW, pause_s=0.0)


async def gossip_forged(target: Target) -> None:
    """A member's node gossips transactions whose signatures are forged, in the largest messages."""
    messages = [
        encode_peer_message(Gossip(tuple(_transactions(target, forged=True, seed=seed, count=GOSSIP_BATCH))))
        for seed in range(4)
    ]
    await _send_forever(target, messages)


async def gossip_repeated(target: Target) -> None:
    """A member's node gossips the same valid transactions again and again."""
    batch = _transactions(target, forged=False, seed=7, count=GOSSIP_BATCH)
    await _send_forever(target, [encode_peer_message(Gossip(tuple(batch)))])


async def want_final(target: Target) -> None:
    """A member's node asks for the largest answers there are."""
    await _send_forever(target, [encode_peer_message(WantFinal(1, CATCH_UP_BLOCKS_MAX))])


async def peer_garbage(target: Target) -> None:
    """A member's node sends what is no message, and comes back."""
    await _send_forever(target, [random.Random(2).randbytes(100_000)])


async def _send_forever(target: Target, messages: list[bytes]) -> None:
    certificate = development_identity(target.member).certificate
    peer = Peer(certificate, f"{LOOPBACK}:{target.peer_port}", PeerKind.VALIDATOR)
    network = PeerNetwork(
        node_id=target.insider,
        identity=development_identity(target.insider),
        chain_id=bytes.fromhex(target.chain_id),
        peers={target.member: peer},
        random_source=random.Random(3),
    )
    await network.start(host=LOOPBACK, port=0)
    draining = asyncio.ensure_future(_drain(network))
    try:
        for message in itertools.cycle(messages):
            (status,) = network.statuses()
            if status.outbox_count < 8:
                network.send(target.member, message)
            await asyncio.sleep(0.005)
    finally:
        draining.cancel()
        await network.close()


async def _drain(network: PeerNetwork) -> None:
    async for _ in network.messages():
        pass


FROM_OUTSIDE: tuple[Flood, ...] = (
    connections,
    slow_headers,
    slow_bodies,
    giant_bodies,
    deep_bodies,
    events_unread,
    block_ranges,
    document_questions,
    forged_spam,
    half_heads,
    half_heads_and_bodies,
    idle_connections,
    endless_heads,
    unread_answers,
    pipelining,
    subscribers,
    half_open,
    half_handshakes,
    garbage,
    strangers,
    churn,
    half_forms,
    large_parts,
    bombs,
)
FROM_INSIDE: tuple[Flood, ...] = (
    member_spam,
    long_waits,
    half_hellos,
    gossip_forged,
    gossip_repeated,
    want_final,
    peer_garbage,
)
FLOODS = {flood.__name__: flood for flood in (*FROM_OUTSIDE, *FROM_INSIDE)}


async def _run(flood: Flood, target: Target, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await flood(target)


def main() -> None:
    """Run one flood."""
    kind, target, seconds = sys.argv[1:]
    asyncio.run(_run(FLOODS[kind], Target(**json.loads(target)), float(seconds)))


if __name__ == "__main__":
    main()
