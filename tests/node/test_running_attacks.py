"""Attacks through the routes of a running node: its API, and its peer port spoken to by a registered peer.

Each is answered by its own code, leaves nothing behind in signature cache and mempool, and honest transactions
through every node go on being recorded, once.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from nacl import bindings

from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.errors import LedgerError, SignatureError
from ledger.rules.blocks import EncodedHeader
from ledger.rules.certificates import NOTARIZE, Subject, Vote
from ledger.rules.operations import (
    GRANT_TAG,
    WITHDRAWAL_TAG,
    Grant,
    GrantBody,
    Operation,
    RevokeDocument,
    Withdraw,
    WithdrawalBody,
)
from ledger.rules.state import CROSS_BORDER, SEPARATE_CONSENT, Consent, ConsentTerms, consent_key, find
from ledger.rules.transactions import TRANSACTION_TAG, Transaction, TransactionBody
from node.client.client import Client, Result
from node.consensus.messages import BlockProposalMessage, encode_message
from node.files.keyfiles import DevelopmentKey
from node.messages import BlockProposal, Gossip, WantFinal, decode_peer_message, encode_peer_message
from node.network.connection import close_socket
from node.network.dialer import dial, make_session
from node.network.hello import Hello
from node.network.limits import Timing
from node.network.registry import Peer, PeerKind
from node.network.tls import make_client_context
from tests.support.office import loan_notice
from tests.support.running_network import (
    VALIDATORS,
    RunningNetwork,
    fresh_anchor,
    key_of,
    now_ms,
    run_network,
    sign,
)

DAY_MS = 86_400_000
ISSUER, BANK, RELAY, THIEF = "hk-bureau", "mainland-bank", "hk-operator", "sz-operator"
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def attack(directory: Path, scenario: Callable[[RunningNetwork], Awaitable[None]]) -> None:
    """Run an attack on four validators; honest traffic flows through each before and after it."""

    async def live() -> None:
        async with run_network(directory / "network") as running:
            await check_honest_traffic(running)
            await scenario(running)
            await check_honest_traffic(running)
            # What lost a race leaves the pool when its node has led once.
            for process in running.processes.values():
                while process.driver.mempool.count > 0:
                    await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(live(), 60))


async def check_honest_traffic(running: RunningNetwork) -> None:
    """Have one anchor through each node recorded, once, on all of them."""
    sent = {member: sign(running.network, ISSUER, fresh_anchor()) for member in running.processes}
    for result in await asyncio.gather(*(submit(running, member, sent[member]) for member in sent)):
        assert result[0].state == "final", result[0].refusal
    await check_recorded_once(running, list(sent.values()))


async def check_recorded_once(running: RunningNetwork, transactions: list[Transaction]) -> None:
    """Check that each of these is in exactly one final block of each node."""
    heights = []
    for process in running.processes.values():
        found = (process.store.find_transaction(transaction.id) for transaction in transactions)
        heights.append(max((place[0] for place in found if place is not None), default=0))
    for process in running.processes.values():
        await asyncio.wait_for(process.node.wait_for_height(max(heights)), 15)
        recorded = [
            transaction.id
            for height in range(1, process.store.tip().header.height + 1)
            if (block := process.store.load_block(height)) is not None
            for transaction in block.transactions
        ]
        for transaction in transactions:
            assert recorded.count(transaction.id) == 1


async def submit(running: RunningNetwork, member: str, *transactions: Transaction) -> list[Result]:
    async with Client.connect(running.url(member)) as client:
        return await client.submit(transactions, wait_ms=15_000)


async def relay(running: RunningNetwork, member: str, *operations: Grant | Withdraw) -> Result:
    async with Client.connect(running.url(member)) as client:
        return await client.relay(operations, wait_ms=15_000)


def code_of(result: Result) -> str | None:
    """Return the code of a refusal; None where it was recorded."""
    if result.refusal is None:
        assert result.state == "final"
        return None
    assert all((result.refusal.expected, result.refusal.found, result.refusal.cure))
    return result.refusal.code


def with_signature(transaction: Transaction, signature: bytes) -> Transaction:
    """Return the same body under another signature."""
    assert transaction.encoded.endswith(transaction.signature)
    return Transaction.decode(transaction.encoded[:-64] + signature)


def with_flipped_signature(transaction: Transaction) -> Transaction:
    signature = bytearray(transaction.signature)
    signature[0] ^= 1
    return with_signature(transaction, bytes(signature))


def with_another_valid_signature(transaction: Transaction, key: PrivateKey) -> Transaction:
    """Return the same body under a second signature that verifies: what the sender alone can make."""
    tag = TRANSACTION_TAG.encode()
    message = bytes([len(tag)]) + tag + transaction.body_bytes
    digest = bytearray(hashlib.sha512(key.seed).digest()[:32])
    digest[0] &= 248
    digest[31] = (digest[31] & 63) | 64
    scalar = int.from_bytes(digest, "little")
    nonce = int.from_bytes(hashlib.sha512(b"another nonce" + message).digest(), "little") % GROUP_ORDER
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce.to_bytes(32, "little"))
    challenge = hashlib.sha512(point + key.public.data + message).digest()
    answer = (nonce + int.from_bytes(challenge, "little") * scalar) % GROUP_ORDER
    return with_signature(transaction, point + answer.to_bytes(32, "little"))


@asynccontextmanager
async def peer_of(running: RunningNetwork, victim: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Connect to a node's peer port as the auditor's node, which is registered and does what we like."""
    identity = running.network.homes["auditor"].load_tls_identity(DevelopmentKey())
    certificate = running.network.homes[victim].load_tls_identity(DevelopmentKey()).certificate
    host, port = running.listen(victim)
    session = make_session()
    try:
        socket, _ = await dial(
            session,
            victim,
            Peer(certificate, f"{host}:{port}", PeerKind.VALIDATOR),
            hello=Hello(running.genesis.content.chain_id, b"attacker", "auditor"),
            context=make_client_context(identity, [certificate]),
            timing=Timing(),
        )
        try:
            yield socket
        finally:
            await close_socket(socket, code=1000, reason="", timeout_s=1.0)
    finally:
        await session.close()


async def gossip(running: RunningNetwork, victim: str, *transactions: Transaction) -> None:
    """Send transactions to a node's peer port, and return once it has handled them."""
    async with peer_of(running, victim) as socket:
        await socket.send_bytes(encode_peer_message(Gossip(tuple(each.encoded for each in transactions))))
        # A node handles a peer's messages in order: with the answer to this one, it is done with the first.
        await socket.send_bytes(encode_peer_message(WantFinal(1, 64)))
        async with asyncio.timeout(15):
            while True:
                answer = await socket.receive()
                assert answer.type is aiohttp.WSMsgType.BINARY, "an attack of lawful form is no offence"
                if decode_peer_message(answer.data).TAG == "final-blocks":
                    return


def check_nothing_vouches_for(running: RunningNetwork, transaction: Transaction) -> None:
    """Check that no node keeps a transaction, and that no signature cache lets it pass."""
    key = key_of(transaction.body.sender)
    for process in running.processes.values():
        assert process.driver.mempool.find(transaction.id) is None
        assert process.store.find_transaction(transaction.id) is None
        with pytest.raises(SignatureError):
            process.driver.chain.verified.verify(transaction, key.public)


# -- an admitted body with another signature ------------------------------------------------------------------


def test_an_admitted_body_under_a_false_signature_is_refused_wherever_it_comes_in(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        honest = sign(running.network, ISSUER, fresh_anchor())
        forged = with_flipped_signature(honest)
        assert forged.body_bytes == honest.body_bytes and forged.id != honest.id
        # Before, beside and after the honest one: a cache keyed by the body would let one of them pass.
        await gossip(running, RELAY, forged)
        results = await submit(running, RELAY, forged, honest, forged)
        assert [code_of(result) for result in results] == ["signature", None, "signature"]
        for member in VALIDATORS:
            await gossip(running, member, forged, honest)
            assert code_of((await submit(running, member, forged))[0]) == "signature"
        check_nothing_vouches_for(running, forged)
        await check_recorded_once(running, [honest])

    attack(tmp_path, scenario)


def test_an_admitted_body_under_a_second_valid_signature_is_recorded_once(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        first = sign(running.network, ISSUER, fresh_anchor())
        second = with_another_valid_signature(first, key_of(ISSUER))
        second.verify(key_of(ISSUER).public)
        assert second.body_bytes == first.body_bytes and second.id != first.id
        results = await asyncio.gather(
            submit(running, "sz-operator", first), submit(running, "mainland-bank", second)
        )
        # Whichever a leader took first: the other is refused, on every node the same.
        assert sorted(f"{code_of(result)}" for (result,) in results) == ["None", "already-recorded"]
        loser = second if code_of(results[0][0]) is None else first
        for member in VALIDATORS:
            await gossip(running, member, loser)
            assert code_of((await submit(running, member, loser))[0]) == "already-recorded"

    attack(tmp_path, scenario)


def test_a_peer_cannot_make_a_node_vote_for_a_body_with_another_signature(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        honest = sign(running.network, ISSUER, fresh_anchor())
        forged = with_flipped_signature(honest)
        await submit(running, RELAY, honest)
        process = running.processes[RELAY]
        header = process.store.tip().encoded_header
        subject = Subject(NOTARIZE, 0, header.header.view, header.header.view - 1, header.hash)
        proposal = BlockProposal(
            encode_message(BlockProposalMessage(Vote(subject, 0, bytes(64)))), header.encoded, (forged.id,)
        )
        async with peer_of(running, RELAY) as socket:
            await socket.send_bytes(encode_peer_message(proposal))
            await check_cut_off(socket)
        check_nothing_vouches_for(running, forged)

    attack(tmp_path, scenario)


async def check_cut_off(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Read until the node closes the connection."""
    async with asyncio.timeout(15):
        while (await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            continue
    assert socket.closed or socket.close_code is not None


# -- a copied relayed operation -------------------------------------------------------------------------------


def make_terms(**changes: int) -> ConsentTerms:
    now = now_ms()
    return ConsentTerms(
        recipient=BANK,
        purpose="consumer-credit.loan",
        sources=("HK",),
        flags=SEPARATE_CONSENT | CROSS_BORDER,
        notice_version=loan_notice().version,
        terms_commitment=bytes(32),
        from_ms=changes.get("from_ms", now - DAY_MS),
        until_ms=now + DAY_MS,
        uses=1,
    )


def make_grant(
    running: RunningNetwork,
    holder: PrivateKey,
    nonce: int,
    *,
    within_ms: int = 60_000,
    chain: bytes | None = None,
) -> Grant:
    chain_id = running.genesis.content.chain_id if chain is None else chain
    body = pack(
        GrantBody(chain_id, nonce.to_bytes(16, "big"), now_ms() + within_ms, holder.public, make_terms())
    )
    return Grant(body, holder.sign(GRANT_TAG, body))


def make_withdrawal(running: RunningNetwork, holder: PrivateKey, grant: Grant) -> Withdraw:
    body = pack(WithdrawalBody(running.genesis.content.chain_id, holder.public, grant.consent_id))
    return Withdraw(body, holder.sign(WITHDRAWAL_TAG, body))


def consent_of(running: RunningNetwork, member: str, grant: Grant) -> Consent | None:
    return find(
        running.processes[member].store, Consent, consent_key(grant.decoded().consent_key, grant.consent_id)
    )


def test_copying_a_relayed_grant_first_spoils_no_batch_and_grants_once(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        holder = PrivateKey.from_seed(bytes(range(32)))
        grants = [make_grant(running, holder, nonce) for nonce in range(4)]
        # The thief saw the batch on its way, and has its first piece recorded under its own name.
        stolen = sign(running.network, THIEF, grants[0])
        assert code_of((await submit(running, THIEF, stolen))[0]) is None
        assert code_of(await relay(running, RELAY, *grants)) is None
        for member in VALIDATORS:
            await asyncio.wait_for(
                running.processes[member].node.wait_for_height(
                    running.processes[RELAY].store.tip().header.height
                ),
                15,
            )
            for grant in grants:
                recorded = consent_of(running, member, grant)
                assert recorded is not None and recorded.granted is not None and recorded.ended is None
        first = consent_of(running, RELAY, grants[0])
        assert first is not None and first.granted is not None
        found = running.processes[RELAY].store.find_transaction(stolen.id)
        assert found is not None and first.granted.height == found[0], "the copy granted it, and only once"
        # What changes nothing is not recorded a second time, whoever sends it.
        assert code_of(await relay(running, RELAY, *grants)) == "no-change"
        assert (
            code_of((await submit(running, THIEF, sign(running.network, THIEF, *grants)))[0]) == "no-change"
        )

    attack(tmp_path, scenario)


def test_a_copied_withdrawal_withdraws_once_and_a_grant_does_not_come_back(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        holder = PrivateKey.from_seed(bytes(range(1, 33)))
        grant = make_grant(running, holder, 1)
        withdrawal = make_withdrawal(running, holder, grant)
        assert code_of(await relay(running, RELAY, grant)) is None
        copied = sign(running.network, THIEF, withdrawal)
        results = await asyncio.gather(relay(running, RELAY, withdrawal), submit(running, THIEF, copied))
        assert sorted(f"{code_of(each)}" for each in (results[0], results[1][0])) == ["None", "no-change"]
        assert code_of(await relay(running, RELAY, grant)) == "no-change"
        ended = consent_of(running, RELAY, grant)
        assert ended is not None and ended.ended is not None and ended.ended.by == "holder"

    attack(tmp_path, scenario)


def test_a_thief_changes_nothing_of_what_it_copies(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        holder, other = (PrivateKey.from_seed(bytes([n]) * 32) for n in (7, 8))
        grant = make_grant(running, holder, 1)
        resigned = Grant(grant.body, other.sign(GRANT_TAG, grant.body))
        extended = pack(GrantBody(grant.decoded().chain_id, bytes(16), now_ms(), holder.public, make_terms()))
        trials: list[tuple[Operation, str]] = [
            (resigned, "signature"),
            (Grant(extended, grant.signature), "signature"),
            (Withdraw(make_withdrawal(running, holder, grant).body, grant.signature), "signature"),
        ]
        for operation, code in trials:
            assert code_of((await submit(running, THIEF, sign(running.network, THIEF, operation)))[0]) == code
            assert isinstance(operation, Grant | Withdraw)
            assert code_of(await relay(running, RELAY, operation)) == code
        assert await refusal_of_relaying(running, grant, make_grant(running, other, 1)) == "transaction"
        assert consent_of(running, RELAY, grant) is None

    attack(tmp_path, scenario)


async def refusal_of_relaying(running: RunningNetwork, *operations: Grant | Withdraw) -> str:
    """Return the code with which the relay route itself refuses operations."""
    async with aiohttp.ClientSession() as session:
        body = {"operations": [pack(each).hex() for each in operations], "wait_ms": 0}
        async with session.post(f"{running.url(RELAY)}/v1/relay", json=body) as response:
            assert response.status == 400
            return str((await response.json())["error"]["code"])


# -- a replay after expiry ------------------------------------------------------------------------------------


def test_a_replay_after_expiry_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        holder = PrivateKey.from_seed(bytes(range(2, 34)))
        brief = sign(running.network, ISSUER, fresh_anchor(), valid_for_ms=4_000)
        resigned = with_another_valid_signature(brief, key_of(ISSUER))
        unsent = sign(running.network, ISSUER, fresh_anchor(), valid_for_ms=4_000)
        unsent_grant = make_grant(running, holder, 1, within_ms=4_000)
        grant = make_grant(running, holder, 2, within_ms=4_000)
        ((recorded,), _) = await asyncio.gather(submit(running, ISSUER, brief), relay(running, RELAY, grant))
        assert recorded.state == "final"
        await asyncio.sleep(max(0, brief.body.valid_until_ms - now_ms() + 50) / 1000)

        for member in VALIDATORS:
            await gossip(running, member, brief, resigned, unsent)
            again, second, late = await submit(running, member, brief, resigned, unsent)
            # The same bytes are the same transaction: the answer is where it stands, not a second record.
            assert (again.state, again.height) == ("final", recorded.height)
            assert (code_of(second), code_of(late)) == ("expired", "expired")
        assert code_of(await relay(running, RELAY, unsent_grant)) == "expired"
        assert code_of(await relay(running, RELAY, grant)) == "no-change"
        await check_recorded_once(running, [brief])
        assert consent_of(running, RELAY, unsent_grant) is None

    attack(tmp_path, scenario)


# -- another chain --------------------------------------------------------------------------------------------


def test_what_is_signed_for_another_chain_is_refused_at_every_route(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        other = hashlib.sha256(b"another chain").digest()
        holder = PrivateKey.from_seed(bytes(range(3, 35)))
        foreign = sign(running.network, ISSUER, fresh_anchor(), chain_id=other)
        foreign.verify(key_of(ISSUER).public)
        foreign_grant = make_grant(running, holder, 1, chain=other)
        carried = sign(running.network, THIEF, foreign_grant)
        for member in VALIDATORS:
            await gossip(running, member, foreign, carried)
            results = await submit(running, member, foreign, carried)
            assert [code_of(result) for result in results] == ["wrong-chain", "wrong-chain"]
            assert code_of(await relay(running, member, foreign_grant)) == "wrong-chain"
        for process in running.processes.values():
            for transaction in (foreign, carried):
                assert process.driver.mempool.find(transaction.id) is None
                assert process.store.find_transaction(transaction.id) is None
        assert consent_of(running, RELAY, foreign_grant) is None

    attack(tmp_path, scenario)


def test_a_block_of_another_chain_is_an_offence_of_the_peer(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        process = running.processes[RELAY]
        tip = process.store.tip()
        header = tip.encoded_header.encoded.replace(running.genesis.content.chain_id, bytes(32))
        foreign = EncodedHeader.decode(header)
        subject = Subject(NOTARIZE, 0, foreign.header.view, foreign.header.view - 1, foreign.hash)
        proposal = BlockProposal(
            encode_message(BlockProposalMessage(Vote(subject, 0, bytes(64)))), header, ()
        )
        async with peer_of(running, RELAY) as socket:
            await socket.send_bytes(encode_peer_message(proposal))
            await check_cut_off(socket)
        assert process.driver.chain.tree.find(foreign.hash) is None

    attack(tmp_path, scenario)


# -- a sender who may not -------------------------------------------------------------------------------------


def test_a_role_that_may_not_and_a_sender_that_nobody_knows_have_codes_of_their_own(tmp_path: Path) -> None:
    async def scenario(running: RunningNetwork) -> None:
        stranger = sign_as(running, "nobody", PrivateKey.from_seed(bytes(32)), fresh_anchor())
        impostor = sign_as(running, ISSUER, key_of(THIEF), fresh_anchor())
        results = await submit(
            running,
            RELAY,
            sign(running.network, BANK, fresh_anchor()),
            sign(running.network, THIEF, RevokeDocument(bytes(32), "error")),
            stranger,
            impostor,
        )
        expected = ["forbidden-role", "forbidden-role", "unregistered", "signature"]
        assert [code_of(result) for result in results] == expected
        await gossip(running, RELAY, stranger, impostor)

    attack(tmp_path, scenario)


def sign_as(running: RunningNetwork, sender: str, key: PrivateKey, operation: Operation) -> Transaction:
    body = TransactionBody(running.genesis.content.chain_id, sender, now_ms() + 60_000, (operation,))
    return Transaction.sign(body, key)


def test_the_second_signature_of_these_tests_verifies_and_a_flipped_one_does_not() -> None:
    body = TransactionBody(bytes(32), ISSUER, 1, (fresh_anchor(),))
    key = PrivateKey.from_seed(bytes(32))
    transaction = Transaction.sign(body, key)
    with_another_valid_signature(transaction, key).verify(key.public)
    with pytest.raises(LedgerError):
        with_flipped_signature(transaction).verify(key.public)
