"""What strangers and faulty peers may try at the peer port, and what becomes of it."""

import asyncio
import base64
import contextlib
import hashlib
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from node.network.connection import CLOSE_OFFENCE, CLOSE_REFUSED
from node.network.dialer import DialFailed, make_session
from node.network.hello import HELLO_SIZE_MAX, Hello, encode_hello
from node.network.limits import (
    CONNECTS_PER_WINDOW_MAX,
    CONTROL_FRAMES_PER_WINDOW_MAX,
    MESSAGE_SIZE_MAX,
    OUTBOX_SIZE_MAX,
    PENDING_COUNT_MAX,
    PENDING_PER_CERTIFICATE_MAX,
)
from node.network.listener import PEER_PATH
from node.network.registry import Peer, PeerKind
from node.network.tls import TlsIdentity, make_client_context, make_server_context
from tests.node.network.test_network_tls import issue, make_authority
from tests.support.network_world import (
    CHAIN,
    IDENTITIES,
    OTHER_CHAIN,
    QUICK,
    Node,
    impostor,
    read_to_the_end,
    running,
    unlisted,
    until,
    with_addresses,
)
from tests.support.slowclients import Manner, flooded

ABRUPT = replace(QUICK, handshake_s=0.2, hello_s=0.2)
SERVER = IDENTITIES["bank"].certificate

Misdeed = Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def bank_and_witness() -> AsyncIterator[tuple[Node, Node]]:
    """A node, and an honest peer whose messages must come through before and after every attack."""
    async with (
        running("bank", unlisted("bureau", "hk-operator"), timing=ABRUPT) as bank,
        running("hk-operator", with_addresses({"bank": bank})) as witness,
    ):
        await check_service(bank, witness)
        yield bank, witness
        await check_service(bank, witness)


async def check_service(bank: Node, witness: Node) -> None:
    await until(lambda: witness.network.is_connected("bank"))
    witness.network.send("bank", b"still here")
    assert await bank.receive(1) == [("hk-operator", b"still here")]
    bank.network.send("hk-operator", b"me too")
    assert await witness.receive(1) == [("bank", b"me too")]


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    """Read until the other side closes; False when it has not done so in time."""
    try:
        async with asyncio.timeout(5):
            while await reader.read(4096):
                pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


# The handshake


def test_a_stranger_does_not_pass_the_handshake() -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            with pytest.raises(DialFailed):
                async with impostor(bank, "bureau", identity=IDENTITIES["stranger"]):
                    pass
            assert not bank.network.is_connected("bureau")

    asyncio.run(scenario())


def test_a_certificate_issued_by_a_pinned_one_is_cut_off_after_the_handshake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        authority, authority_key = make_authority("bureau")
        pinned = unlisted("hk-operator") | {"bureau": Peer(authority.certificate, None, PeerKind.VALIDATOR)}
        async with running("bank", pinned) as bank:
            issued = issue(authority, authority_key, "bureau")
            with pytest.raises(DialFailed):
                async with impostor(bank, "bureau", identity=issued):
                    pass
            assert bank.events == []
            async with impostor(bank, "bureau", identity=authority) as honest:
                await honest.send_bytes(b"x")
                assert await bank.receive(1) == [("bureau", b"x")]

    asyncio.run(scenario())
    # Not the handshake refused it, but the comparison.
    assert "certificate is not pinned" in caplog.text


def test_a_server_with_a_certificate_issued_by_a_pinned_one_hears_no_hello() -> None:
    async def scenario() -> None:
        authority, authority_key = make_authority("bureau")
        heard: list[bytes] = []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            key = next(
                line for line in heard[0].split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
            )
            writer.write(accept_upgrade(key.split(b":")[1].strip()))
            heard.append(await reader.read(4096))
            writer.close()

        issued = issue(authority, authority_key, "bureau")
        async with rogue_server(issued, listen) as port:
            listed = {"bureau": Peer(authority.certificate, f"127.0.0.1:{port}", PeerKind.VALIDATOR)}
            async with running("bank", listed) as bank:
                await until(lambda: len(heard) >= 2)
                assert bank.events == []
        # What a client sends is masked, so only its kind can be told: a close frame, never a binary one.
        assert heard[1][:1] == b"\x88"

    asyncio.run(scenario())


def accept_upgrade(key: bytes) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"


@asynccontextmanager
async def rogue_server(
    identity: TlsIdentity,
    listen: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A TLS server with this identity that answers as `listen` does."""
    context = make_server_context(identity, [SERVER])
    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.05)


def test_a_redirect_sends_nobody_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        visits: list[str] = []

        async def note_visit(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visits.append("visited")
            writer.close()

        canary = await asyncio.start_server(note_visit, "127.0.0.1", 0)
        target = f"http://127.0.0.1:{canary.sockets[0].getsockname()[1]}/"

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
            with contextlib.suppress(OSError):
                await reader.read()
            writer.close()

        async with rogue_server(IDENTITIES["bureau"], redirect) as port:
            listed = {"bureau": replace(unlisted("bureau")["bureau"], address=f"127.0.0.1:{port}")}
            async with running("bank", listed):
                await until(lambda: "found a redirect" in caplog.text)
        canary.close()
        await canary.wait_closed()
        assert visits == []

    asyncio.run(scenario())


def test_tls_1_2_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "node.network")

    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            context = make_client_context(IDENTITIES["bureau"], [SERVER])
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", bank.port, ssl=context)

    asyncio.run(scenario())
    assert "unsupported protocol" in caplog.text


def test_plain_tcp_garbage_is_cut_off() -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096, b"\x16\x03\x01\xff\xff" + b"A" * 100):
                reader, writer = await asyncio.open_connection("127.0.0.1", bank.port)
                writer.write(garbage)
                assert await is_cut_off(reader)
                writer.close()
            await until(lambda: bank.network.pending_count == 0)

    asyncio.run(scenario())


def test_a_handshake_of_a_byte_now_and_then_is_cut_off_in_time() -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            loop = asyncio.get_running_loop()
            started_at = loop.time()
            reader, writer = await asyncio.open_connection("127.0.0.1", bank.port)

            async def drip() -> None:
                for byte in b"\x16\x03\x01\x02\x00" + b"\x01" * 1000:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            assert await is_cut_off(reader)
            assert ABRUPT.handshake_s <= loop.time() - started_at < 10 * ABRUPT.handshake_s
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("said", [b"", b"GET " + PEER_PATH.encode() + b" HTTP/1.1\r\nA: b\r\n"])
def test_a_pinned_peer_that_says_no_hello_is_cut_off_in_time(said: bytes) -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            context = make_client_context(IDENTITIES["bureau"], [SERVER])
            reader, writer = await asyncio.open_connection("127.0.0.1", bank.port, ssl=context)
            writer.write(said)
            assert await is_cut_off(reader)
            writer.close()
            await until(lambda: bank.network.pending_count == 0)

    asyncio.run(scenario())


HALF_OPEN = Manner(b"")
HALF_HANDSHAKES = Manner(b"\x16\x03\x01\x02\x00\x01", b"\x00", pause_s=0.1)
GARBAGE = Manner(bytes(64))
PATIENT = replace(QUICK, handshake_s=30.0, hello_s=30.0, dial_s=60.0)


@pytest.mark.parametrize(
    "manners", [(HALF_OPEN,), (HALF_HANDSHAKES,), (HALF_OPEN, HALF_HANDSHAKES, GARBAGE)], ids=str
)
def test_strangers_that_come_back_at_once_keep_no_peer_out_from_the_same_address(
    manners: tuple[Manner, ...],
) -> None:
    async def scenario() -> None:
        async with (
            running("bank", unlisted("bureau", "hk-operator"), timing=PATIENT) as bank,
            running("hk-operator", with_addresses({"bank": bank})) as witness,
        ):
            await check_service(bank, witness)
            async with flooded(bank.port, 2 * PENDING_COUNT_MAX, *manners):
                for _ in range(5):
                    # Who is connected stays so; who comes, or comes back, is let in.
                    await check_service(bank, witness)
                    async with impostor(bank, "bureau", timing=PATIENT) as honest:
                        await honest.send_bytes(b"x")
                        assert await bank.receive(1) == [("bureau", b"x")]
                    await until(lambda: not bank.network.is_connected("bureau"))
                assert bank.network.pending_count <= PENDING_COUNT_MAX + 1
            assert bank.network.refused_count > 0

    asyncio.run(scenario())


def test_a_stranger_costs_no_tls_before_its_first_record_is_whole_however_it_comes() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bureau"), timing=PATIENT) as bank:
            client, written = ssl.MemoryBIO(), ssl.MemoryBIO()
            context = make_client_context(IDENTITIES["bureau"], [SERVER])
            tls = context.wrap_bio(client, written, server_hostname=None)
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            hello = written.read()
            reader, writer = await asyncio.open_connection("127.0.0.1", bank.port)
            await until(lambda: bank.network.pending_count == 1)
            (pending,) = bank.network._listener._pending.values()
            for place in (1, 3, 5, 50):
                writer.write(hello[:place])
                hello = hello[place:]
                await asyncio.sleep(0.05)
                assert pending.protocol.transport is None and pending.task is not None
                assert not pending.task.done()
            writer.write(hello)
            answered = await reader.read(1)
            assert answered == b"\x16", "the server's own first record"
            writer.close()

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="needs the addresses 127.0.0.2 and up")
def test_the_address_with_most_strangers_loses_its_oldest() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bureau"), timing=PATIENT) as bank:

            async def knock(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                before = bank.network.pending_count
                opened = await asyncio.open_connection("127.0.0.1", bank.port, local_addr=(address, 0))
                await until(lambda: bank.network.pending_count == min(before + 1, PENDING_COUNT_MAX))
                return opened

            # The oldest of all is the only one of its address, and none of the flood's can take its place.
            lonely = await knock("127.0.1.1")
            held = [await knock(f"127.0.2.{1 + index % 2}") for index in range(PENDING_COUNT_MAX - 1)]
            assert bank.network.refused_count == 0
            async with impostor(bank, "bureau"):
                assert bank.network.is_connected("bureau")
            assert bank.network.refused_count == 1
            assert await is_cut_off(held[0][0])
            held += [await knock("127.0.2.1") for _ in range(5)]
            assert not lonely[0].at_eof()
            for _, writer in (lonely, *held):
                writer.close()

    asyncio.run(scenario())


def test_whoever_showed_a_pinned_certificate_keeps_its_place_among_strangers() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bureau"), timing=PATIENT) as bank:
            context = make_client_context(IDENTITIES["bureau"], [SERVER])
            pinned = await asyncio.open_connection("127.0.0.1", bank.port, ssl=context)
            await until(lambda: bank.network.pending_count == 1)
            async with flooded(bank.port, 2 * PENDING_COUNT_MAX, HALF_OPEN) as flood:
                while flood.ended_count < 2 * PENDING_COUNT_MAX:
                    await asyncio.sleep(0.01)
            pinned[1].write(b"GET /nowhere HTTP/1.1\r\nHost: bank\r\n\r\n")
            assert (await pinned[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 404")
            pinned[1].close()

    asyncio.run(scenario())


def test_one_member_holds_few_places_without_a_hello_and_its_oldest_goes() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bureau", "hk-operator"), timing=PATIENT) as bank:
            contexts = {
                name: make_client_context(IDENTITIES[name], [SERVER]) for name in ("bureau", "hk-operator")
            }

            async def knock(name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                return await asyncio.open_connection("127.0.0.1", bank.port, ssl=contexts[name])

            other = await knock("hk-operator")
            held = [await knock("bureau") for _ in range(PENDING_PER_CERTIFICATE_MAX)]
            await until(lambda: bank.network.pending_count == PENDING_PER_CERTIFICATE_MAX + 1)
            assert bank.network.refused_count == 0
            held.append(await knock("bureau"))
            assert await is_cut_off(held[0][0])
            assert bank.network.refused_count == 1
            async with impostor(bank, "bureau"):
                assert bank.network.is_connected("bureau")
            assert not other[0].at_eof()
            for _, writer in (other, *held):
                writer.close()

    asyncio.run(scenario())


# The hello


async def greet_with(bank: Node, first: bytes | str) -> aiohttp.WSMessage:
    """Connect as the pinned bureau, say this first, and return what comes back."""
    session = make_session()
    try:
        socket = await session.ws_connect(
            f"wss://127.0.0.1:{bank.port}{PEER_PATH}", ssl=make_client_context(IDENTITIES["bureau"], [SERVER])
        )
        if isinstance(first, str):
            await socket.send_str(first)
        else:
            await socket.send_bytes(first)
        answer = await socket.receive()
        await socket.close()
        return answer
    finally:
        await session.close()


GOOD = encode_hello(Hello(CHAIN, b"attacker", "bureau"))


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (encode_hello(Hello(OTHER_CHAIN, b"attacker", "bureau")), "chain id: expected 6363"),
        (GOOD.replace(b"\x00\x01", b"\x00\x02", 1), "protocol version: expected 1, found 2"),
        (encode_hello(Hello(CHAIN, b"attacker", "hk-operator")), "TLS certificate: expected "),
        (encode_hello(Hello(CHAIN, b"attacker", "bank")), "node id: expected a registered peer"),
        (encode_hello(Hello(CHAIN, b"attacker", "nobody")), "node id: expected a registered peer"),
        (b"garbage", "hello: expected luohu-peer and a version"),
        (GOOD + b"\n", "node id: expected an ASCII identifier"),
        (GOOD + b"x" * HELLO_SIZE_MAX, f"hello: expected at most {HELLO_SIZE_MAX} bytes"),
        (b"", "hello: expected luohu-peer and a version"),
        (GOOD.decode("latin-1"), "first frame: expected a hello"),
    ],
)
def test_another_hello_is_refused_with_its_reason(first: bytes | str, reason: str) -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            answer = await greet_with(bank, first)
            assert answer.type is aiohttp.WSMsgType.CLOSE
            assert answer.data == CLOSE_REFUSED
            assert answer.extra is not None
            assert answer.extra.startswith(reason)
            assert not bank.network.is_connected("bureau")

    asyncio.run(scenario())


def test_a_node_on_another_chain_is_refused_by_both_and_both_say_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        async with (
            running("bank", unlisted("bureau")) as bank,
            running("bureau", with_addresses({"bank": bank}), chain_id=OTHER_CHAIN) as bureau,
        ):
            await until(lambda: caplog.text.count("chain id: expected") >= 2)
            assert bank.events == bureau.events == []

    asyncio.run(scenario())


def test_other_paths_and_plain_http_get_an_answer_and_no_service() -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            session = make_session()
            context = make_client_context(IDENTITIES["bureau"], [SERVER])
            for path, status in (("/", 404), ("/v1/status", 404), (PEER_PATH, 400)):
                async with session.get(f"https://127.0.0.1:{bank.port}{path}", ssl=context) as response:
                    assert response.status == status
            await session.close()

    asyncio.run(scenario())


# After the hello


async def say_text(socket: aiohttp.ClientWebSocketResponse) -> None:
    await socket.send_str("text")


async def say_nothing_at_length(socket: aiohttp.ClientWebSocketResponse) -> None:
    await socket.send_bytes(b"")


async def say_too_much(socket: aiohttp.ClientWebSocketResponse) -> None:
    await socket.send_bytes(bytes(MESSAGE_SIZE_MAX + 1))


async def ping_without_end(socket: aiohttp.ClientWebSocketResponse) -> None:
    for _ in range(CONTROL_FRAMES_PER_WINDOW_MAX + 1):
        await socket.ping()


@pytest.mark.parametrize(
    ("misdeed", "reason"),
    [
        (say_text, "expected binary frames, found text"),
        (say_nothing_at_length, f"expected a message of 1 to {MESSAGE_SIZE_MAX} bytes, found 0"),
        (say_too_much, f"exceeds limit {MESSAGE_SIZE_MAX + 1}"),
        (ping_without_end, f"expected at most {CONTROL_FRAMES_PER_WINDOW_MAX} pings and pongs"),
    ],
)
def test_a_peer_that_breaks_a_rule_is_disconnected_and_refused_for_a_time(
    misdeed: Misdeed, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            async with impostor(bank, "bureau") as socket:
                await socket.send_bytes(b"fine")
                assert await bank.receive(1) == [("bureau", b"fine")]
                with contextlib.suppress(OSError):
                    await misdeed(socket)
                await until(lambda: not bank.network.is_connected("bureau"))
                await read_to_the_end(socket)
            assert bank.network.statuses()[0].refused_for_s > 0
            with pytest.raises(DialFailed, match="refused for"):
                async with impostor(bank, "bureau"):
                    pass

    asyncio.run(scenario())
    assert reason in caplog.text


def test_pings_up_to_the_limit_are_answered() -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _), impostor(bank, "bureau") as socket:
            for index in range(CONTROL_FRAMES_PER_WINDOW_MAX):
                await socket.ping(bytes([index]))
            for index in range(CONTROL_FRAMES_PER_WINDOW_MAX):
                message = await socket.receive()
                assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, bytes([index]))
            assert bank.network.is_connected("bureau")

    asyncio.run(scenario())


def test_a_frame_that_announces_too_much_is_refused_before_its_bytes_come() -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _), impostor(bank, "bureau") as socket:
            transport = socket._writer.transport
            transport.write(b"\x82\xff" + (2**40).to_bytes(8, "big") + bytes(4))
            message = await read_to_the_end(socket)
            assert message.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG

    asyncio.run(scenario())


def test_a_peer_that_never_reads_slows_nobody_and_is_given_up() -> None:
    async def scenario() -> None:
        timing = replace(QUICK, ping_interval_s=0.1, send_stall_s=0.3)
        async with (
            running("bank", unlisted("bureau", "hk-operator"), timing=timing) as bank,
            running("hk-operator", with_addresses({"bank": bank})) as witness,
            impostor(bank, "bureau") as deaf,
        ):
            await until(lambda: witness.network.is_connected("bank"))
            deaf._writer.transport.pause_reading()
            messages = [bytes([index]) * 1_000_000 for index in range(64)]
            for data in messages:
                assert bank.network.send("bureau", data)
            status = bank.network.statuses()[0]
            assert status.outbox_size <= OUTBOX_SIZE_MAX
            assert status.outbox_dropped_count > 0
            for data in messages:
                assert bank.network.send("hk-operator", data)
                assert await witness.receive(1) == [("bank", data)]
            await until(lambda: not bank.network.is_connected("bureau"))
            assert bank.network.statuses()[0].outbox_size == 0
            await check_service(bank, witness)

    asyncio.run(scenario())


def test_a_peer_that_answers_no_ping_is_given_up() -> None:
    async def scenario() -> None:
        timing = replace(QUICK, ping_interval_s=0.05, dead_after_s=0.2)
        async with running("bank", unlisted("bureau"), timing=timing) as bank:
            async with impostor(bank, "bureau") as silent:
                message = await silent.receive()
                assert message.type is aiohttp.WSMsgType.PING
                await until(lambda: bank.events == ["up bureau", "down bureau"])
            async with impostor(bank, "bureau") as polite:
                for _ in range(6):
                    assert (await polite.receive()).type is aiohttp.WSMsgType.PING
                    await polite.pong()
                assert bank.network.is_connected("bureau")

    asyncio.run(scenario())


def test_a_peer_that_connects_without_end_is_refused_for_a_time() -> None:
    async def scenario() -> None:
        async with bank_and_witness() as (bank, _):
            for index in range(CONNECTS_PER_WINDOW_MAX):
                async with impostor(bank, "bureau", incarnation=index.to_bytes(8, "big")):
                    pass
            with pytest.raises(DialFailed, match="it connects too often"):
                async with impostor(bank, "bureau"):
                    pass
            assert bank.network.statuses()[0].refused_for_s > 0

    asyncio.run(scenario())


def test_an_offence_is_refused_with_a_code_of_its_own() -> None:
    async def scenario() -> None:
        async with running("bank", unlisted("bureau")) as bank, impostor(bank, "bureau") as socket:
            await socket.send_str("text")
            message = await socket.receive()
            assert (message.data, message.extra) == (CLOSE_OFFENCE, "expected binary frames, found text")

    asyncio.run(scenario())
