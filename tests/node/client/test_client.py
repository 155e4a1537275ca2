"""The story through the routes that banks, issuers and wallets use: four nodes, TLS, HTTP, files."""

import asyncio
import io
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from ledger.proofs import Proof
from ledger.requests import Request
from ledger.rules.state import CROSS_BORDER
from ledger.rules.transactions import Transaction
from ledger.trust import TrustedRoot
from ledger.verdicts import VerificationError
from ledger.verifier import Verifier
from node.api.server import Api
from node.client.answers import Proven
from node.client.client import Client
from node.client.holder import RequestRefused, grant, make_consent, present, refresh, withdraw
from node.client.issuing.draft import draft_of_file
from node.client.issuing.outbox import Outbox
from node.client.issuing.register import REGISTER, Register
from node.client.ledgerclient import LedgerClient
from node.client.nodes import Nodes
from node.client.recipient import close_consent, fresh_nonce, record_verification
from node.client.wallet import COST_EXPONENT_MIN, Wallet
from node.clock import SystemClock
from node.errors import Unreachable
from node.files.keyfiles import DevelopmentKey, Passphrase
from node.home.consortium import Network
from node.home.development import development_key
from node.run import NodeProcess, load_parts
from node.version import release
from tests.support.asking import request_with
from tests.support.office import loan_notice
from tests.support.running_network import VALIDATORS, make_network, numbered_anchor

ISSUER, BANK = "hk-bureau", "mainland-bank"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_request(network: Network, trust: TrustedRoot) -> Request:
    return request_with(
        development_key(BANK, "member"),
        chain_id=network.genesis.content.chain_id,
        nonce=fresh_nonce(),
        issuer=ISSUER,
        recipient=BANK,
        flags=CROSS_BORDER,
        notice_version=loan_notice().version,
        until_ms=now_ms() + 86_400_000,
        answer_by_ms=now_ms() + 86_400_000,
        pin=trust.newest_pin(now_ms()),
    )


def url_of(network: Network, member: str) -> str:
    return f"http://{network.homes[member].require_node().api}"


async def start_all(network: Network) -> list[NodeProcess]:
    processes = [
        NodeProcess(load_parts(network.homes[member], DevelopmentKey()), Api) for member in VALIDATORS
    ]
    for process in processes:
        await process.start()
    return processes


def test_the_whole_story_through_the_routes(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")
    trust = TrustedRoot(1, network.genesis, ())
    verifier = Verifier(trust)
    report = tmp_path / "report.pdf"
    report.write_bytes(b"SAMPLE report " * 1000)
    other = tmp_path / "report.json"
    other.write_bytes(b'{"sample": true}')

    async def live() -> None:
        processes = await start_all(network)
        try:
            async with Client.connect(url_of(network, "hk-operator")) as client:
                await tell(client)
        finally:
            for process in processes:
                await process.stop()

    async def tell(client: Client) -> None:
        passphrase = Passphrase.from_text("a wallet's passphrase")
        wallet = Wallet.create(tmp_path / "wallet", passphrase, cost_exponent=COST_EXPONENT_MIN)
        with wallet:
            holder_key = wallet.derive_holder_key()
            drafts = [
                draft_of_file(path, schema="hk.credit-report", holder_key=holder_key)
                for path in (report, other)
            ]
            with Register.open(tmp_path / REGISTER, chain_id=trust.chain_id, issuer=ISSUER) as register:
                register.collect(drafts, now_ms=now_ms())
                key = development_key(ISSUER, "member")
                outbox = Outbox(register, Nodes([client]), key=key, trust=trust, clock=SystemClock())
                (anchored,) = (await outbox.settle()).anchored
                assert anchored.height is not None
                # The same batch again, as after a crash before its proofs were written: recorded once.
                again = await outbox.anchor(anchored)
                assert again == anchored and register.waiting_batches() == []

            proof_path = tmp_path / "report.pdf.proof"
            proof = Proof.decode(proof_path.read_bytes())
            verifier.verify_anchor(report.read_bytes(), proof.encode(), now_ms=now_ms())

            request = make_request(network, trust)
            ledger = LedgerClient(Nodes([client]), trust, now_ms)
            consent = await make_consent(ledger, request, wallet, now_ms=now_ms())
            first = await grant(ledger, consent)
            granted = first.shown.value.granted
            assert isinstance(first.shown, Proven) and granted is not None and first.is_new(granted.height)
            assert not (await grant(ledger, consent)).heights, "granting again changes nothing"
            refreshed = await refresh(ledger, proof, consent)
            assert isinstance(refreshed, Proven) and refreshed.height >= granted.height
            presented = present(refreshed.value, request, consent, wallet)
            verdict = verifier.verify(
                report.read_bytes(), presented.encode(), request=request, now_ms=now_ms()
            )
            assert (verdict.consent.recipient, verdict.consent.used) == (BANK, 0)

            bank_key = development_key(BANK, "member")
            used = await record_verification(
                ledger, presented, member=BANK, key=bank_key, outcome="verified", now_ms=now_ms()
            )
            assert isinstance(used.shown, Proven) and used.is_new(used.shown.value.height)
            used_again = await record_verification(
                ledger, presented, member=BANK, key=bank_key, outcome="verified", now_ms=now_ms()
            )
            assert used_again.shown.value == used.shown.value, "it is on record, and uses up nothing more"
            assert not used_again.heights
            after = (await refresh(ledger, presented, consent)).value
            verdict = verifier.verify(report.read_bytes(), after.encode(), request=request, now_ms=now_ms())
            assert verdict.consent.used == 1

            withdrawn = await withdraw(ledger, consent)
            ended = withdrawn.shown.value.ended
            assert (
                isinstance(withdrawn.shown, Proven) and ended is not None and withdrawn.is_new(ended.height)
            )
            late = (await refresh(ledger, presented, consent)).value
            with pytest.raises(VerificationError) as refused:
                verifier.verify(report.read_bytes(), late.encode(), request=request, now_ms=now_ms())
            assert refused.value.code == "consent-ended"
            repeated = await withdraw(ledger, consent)
            assert repeated.shown.value.ended == ended and not repeated.is_new(ended.height)
            closed = await close_consent(ledger, consent, member=BANK, key=bank_key, now_ms=now_ms())
            assert closed.shown.value.ended == ended and not closed.heights
            with pytest.raises(RequestRefused) as regranted:
                await grant(ledger, consent)
            assert regranted.value.code == "consent-ended"

            blocks = await client.blocks(0)
            assert blocks[0][0].header.height == 0
            assert (await client.genesis()) == network.genesis
            assert (await client.member(ISSUER)).id == ISSUER
            status = await client.status()
            assert status.member == "hk-operator"
            assert status.version == release()
            assert status.is_voting
            seen = [event async for event in _first(client, 3)]
            assert [event["height"] for event in seen] == [1, 2, 3]

    asyncio.run(live())


async def _first(client: Client, count: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
    events = client.events(0)
    async for event in events:
        yield event
        count -= 1
        if not count:
            await events.aclose()  # type: ignore[attr-defined]
            return


def test_a_node_that_is_not_there_is_unreachable_and_the_cure_is_said() -> None:
    async def ask() -> None:
        async with Client.connect("http://127.0.0.1:9") as client:
            await client.status()

    with pytest.raises(Unreachable) as missing:
        asyncio.run(ask())
    assert "node status" in missing.value.cure


FAULTS = (
    ("POST", "/v1/transactions", b"{"),
    ("POST", "/v1/transactions", b"[]"),
    ("POST", "/v1/transactions", b'{"transactions": [], "wait_ms": 0}'),
    ("POST", "/v1/transactions", b'{"transactions": ["00"], "wait_ms": -1}'),
    ("POST", "/v1/transactions", b'{"transactions": ["00"], "wait_ms": true}'),
    ("POST", "/v1/transactions", b'{"transactions": ["0g"], "wait_ms": 0}'),
    ("POST", "/v1/transactions", b'{"transactions": [1], "wait_ms": 0}'),
    ("POST", "/v1/transactions", b'{"transactions": ["00"], "wait_ms": 0, "more": 1}'),
    ("POST", "/v1/transactions", b'{"wait_ms": 0, "wait_ms": 0}'),
    ("POST", "/v1/transactions", b"[" * 100_000),
    ("POST", "/v1/transactions", b'{"transactions": ["' + b"00" * 4_000_000 + b'"], "wait_ms": 0}'),
    ("POST", "/v1/relay", b'{"operations": ["90"], "wait_ms": 0}'),
    ("POST", "/v1/relay", b'{"operations": [], "wait_ms": 0}'),
    ("POST", "/v1/evidence", b'{"request": {}}'),
    ("POST", "/v1/evidence", b'{"request": {"type": "evidence-request"}}'),
    ("GET", "/v1/state/00", b""),
    ("GET", "/v1/state/xyz", b""),
    ("GET", "/v1/members/nobody", b""),
    ("GET", "/v1/members/%00", b""),
    ("GET", "/v1/transactions/00", b""),
    ("GET", "/v1/blocks/99999999", b""),
    ("GET", "/v1/blocks/-1", b""),
    ("GET", "/v1/blocks/9999999999999999999999", b""),
    ("GET", "/v1/blocks?from=x", b""),
    ("GET", "/v1/blocks?count=1000", b""),
    ("GET", "/v1/blocks?unknown=1", b""),
    ("GET", "/v1/events?from=x", b""),
    ("GET", "/v1/nothing", b""),
    ("DELETE", "/v1/status", b""),
)


def test_every_route_refuses_every_fault_with_expected_found_and_cure(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")

    async def ask_all() -> None:
        processes = await start_all(network)
        base = url_of(network, "sz-operator")
        headers = {"Content-Type": "application/json"}
        try:
            async with aiohttp.ClientSession() as session:
                for method, path, body in FAULTS:
                    async with session.request(
                        method, base + path, data=io.BytesIO(body) if body else None, headers=headers
                    ) as response:
                        assert 400 <= response.status < 500, (method, path, body[:60], response.status)
                        error = (await response.json())["error"]
                        assert set(error) == {"code", "where", "expected", "found", "cure"}
                        assert all(error.values()), (path, error)
                async with session.get(f"{base}/v1/openapi.json") as response:
                    paths = (await response.json())["paths"]
                assert {path.split("?")[0] for _, path, _ in FAULTS if path in paths} <= set(paths)
        finally:
            for process in processes:
                await process.stop()
        assert not any(process.failed.done() for process in processes)

    asyncio.run(ask_all())


def test_a_refused_transaction_says_why_and_the_rest_of_the_batch_goes_on(tmp_path: Path) -> None:
    network = make_network(tmp_path / "network")

    async def submit() -> None:
        processes = await start_all(network)
        try:
            async with Client.connect(url_of(network, "sz-operator")) as client:
                good = Transaction.decode(numbered_anchor(network, 5))
                signed = numbered_anchor(network, 6)
                forged = Transaction.decode(signed[:-1] + bytes([signed[-1] ^ 1]))
                results = await client.submit([good, forged])
                assert [result.state for result in results] == ["final", "refused"]
                assert results[1].refusal is not None
                assert results[1].refusal.code == "signature"
                assert replace(results[0], refusal=None) == results[0]
        finally:
            for process in processes:
                await process.stop()

    asyncio.run(submit())
