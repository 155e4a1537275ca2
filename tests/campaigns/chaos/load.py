"""Constant load: clients that submit through the API, read with proof, and write down what they are told.

Rule 1: a transaction is sent again, to any node, until it is final, refused, or its time is over. What a client does
not know counts as nothing.
Rule 2: a refusal counts as one for good where the one node that was ever given the transaction refused it.
Rule 3: every read is verified against the chain's validators before it is kept.
Rule 4: clients also send what must be refused: anchors again, other signatures, other people's slots.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import Json, from_json, pack, parse_json
from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.rules.blocks import EncodedHeader
from ledger.rules.certificates import FINALIZE
from ledger.rules.operations import (
    GRANT_TAG,
    WITHDRAWAL_TAG,
    AnchorBatch,
    Grant,
    GrantBody,
    Operation,
    RecordVerification,
    RevokeAnchor,
    RevokeDocument,
    Withdraw,
    WithdrawalBody,
)
from ledger.rules.state import CROSS_BORDER, SEPARATE_CONSENT, ConsentTerms
from ledger.rules.transactions import Transaction, TransactionBody
from ledger.trees.statetree import AbsenceProof, InclusionProof, verify_absent, verify_present
from ledger.trust import FinalizedHeader
from node.api.service import FINAL, REFUSED
from node.client.client import Client, Result
from node.errors import BadAnswer, ClientError
from tests.campaigns.chaos.founding import PURPOSE, SCHEMA, Consortium, jurisdiction, member_key
from tests.campaigns.chaos.history import Acknowledged, History, Read, RefusedForGood, keys_created

BATCH = 8
WRITERS = 2
READERS = 1
WAIT_MS = 3_000
PATIENCE_S = 8.0
VALIDITY_MS = 600_000
SHORT_VALIDITY_MS = 1_500
PAUSE_S = 0.15
RECENT_MAX = 400
# A node says so of its own state: the transaction itself is as good as before.
TRANSIENT = frozenset({"busy", "mempool-full", "mempool-share", "not-ready", "timeout", "unreachable"})


@dataclass(slots=True)
class Sent:
    """One transaction on its way: how often a node was given it, and until when it may be recorded."""

    transaction: Transaction
    attempts_count: int = 0


class Load:
    """The clients of one run."""

    def __init__(
        self, consortium: Consortium, history: History, source: random.Random, up: Callable[[], list[str]]
    ) -> None:
        self._consortium = consortium
        self._history = history
        self._source = source
        self._up = up
        self._chain_id = consortium.genesis.content.chain_id
        self._number = 0
        self._keys: list[bytes] = []
        self._anchored: list[tuple[str, bytes]] = []
        self._granted: list[tuple[PrivateKey, Grant]] = []
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.final_at_s = time.monotonic()
        """When a client last learned of a transaction's finality."""

    def start(self) -> None:
        """Begin."""
        works = [self._write] * WRITERS + [self._read] * READERS
        self._tasks = [asyncio.ensure_future(self._repeat(work)) for work in works]

    async def stop(self) -> None:
        """End when what was sent is settled or given up. Raises what a client failed with."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    def check(self) -> None:
        """Raise what a client failed with, if any did."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            await work()
            await asyncio.sleep(self._source.uniform(0, PAUSE_S))

    # -- writing ----------------------------------------------------------------------------------------

    async def _write(self) -> None:
        batch = [Sent(self._make()) for _ in range(BATCH)]
        self._history.submitted_count += len(batch)
        while batch and not (self._stopping.is_set() and batch[0].attempts_count > 10):
            batch = await self._submit(batch)
            if batch:
                await asyncio.sleep(0.1)
        self._history.unknown_count += len(batch)

    async def _submit(self, batch: list[Sent]) -> list[Sent]:
        """Give a batch to one node; return what is not settled."""
        now_ms = time.time_ns() // 1_000_000
        open_until_ms = now_ms - SHORT_VALIDITY_MS
        timely = [sent for sent in batch if sent.transaction.body.valid_until_ms > open_until_ms]
        self._history.unknown_count += len(batch) - len(timely)
        batch = timely
        if not batch:
            return []
        member = self._somebody()
        for sent in batch:
            sent.attempts_count += 1
        try:
            async with asyncio.timeout(PATIENCE_S), Client.connect(self._consortium.url(member)) as client:
                results = await client.submit([sent.transaction for sent in batch], wait_ms=WAIT_MS)
        except BadAnswer as error:
            self._history.bad_answers.append(f"{member}: {error}")
            return batch
        except (ClientError, TimeoutError):
            return batch
        return [
            sent
            for sent, result in zip(batch, results, strict=True)
            if not self._is_settled(sent, result, member)
        ]

    def _somebody(self) -> str:
        # Where nobody is up, anybody may be asked: there will be no answer.
        return self._source.choice(self._up() or list(self._consortium.members))

    def _is_settled(self, sent: Sent, result: Result, member: str) -> bool:
        transaction = sent.transaction
        if result.state == FINAL:
            assert result.height is not None, "a final transaction has a height"
            self._history.acknowledged.append(Acknowledged(transaction.id, result.height, member))
            self.final_at_s = time.monotonic()
            self._learn(transaction)
            return True
        if result.state != REFUSED or result.refusal is None or result.refusal.code in TRANSIENT:
            return False
        if sent.attempts_count == 1:
            self._history.refused.append(RefusedForGood(transaction.id, result.refusal.code, member))
        return True

    def _learn(self, transaction: Transaction) -> None:
        self._keys += keys_created(transaction)
        del self._keys[:-RECENT_MAX]
        for operation in transaction.body.operations:
            if isinstance(operation, AnchorBatch):
                self._anchored.append((transaction.body.sender, operation.root))
        del self._anchored[:-RECENT_MAX]

    # -- what is sent -----------------------------------------------------------------------------------

    def _make(self) -> Transaction:
        """Return a transaction of any kind, some of which must be refused."""
        self._number += 1
        fresh = self._fresh()
        chance = self._source.random()
        sender = self._source.choice(self._consortium.members)
        if chance < 0.10 and self._anchored:
            issuer, root = self._source.choice(self._anchored)
            return self._sign(issuer, RevokeAnchor(root, "error"))
        if chance < 0.16 and self._anchored:
            issuer, root = self._source.choice(self._anchored)
            return self._sign(issuer, AnchorBatch(root, 1, SCHEMA, None))
        if chance < 0.26:
            return self._sign(sender, RevokeDocument(fresh, "superseded"))
        if chance < 0.40:
            return self._grant(fresh)
        if chance < 0.48 and self._granted:
            return self._withdrawal(*self._source.choice(self._granted))
        if chance < 0.60 and self._granted:
            return self._verification(*self._source.choice(self._granted), fresh)
        if chance < 0.63:
            body = self._body(sender, AnchorBatch(fresh, 1, SCHEMA, None), VALIDITY_MS)
            return Transaction.sign(body, PrivateKey.from_seed(fresh))
        validity_ms = SHORT_VALIDITY_MS if chance < 0.68 else VALIDITY_MS
        return Transaction.sign(
            self._body(sender, AnchorBatch(fresh, 1, SCHEMA, None), validity_ms), member_key(sender)
        )

    def _fresh(self) -> bytes:
        return hashlib.sha256(self._number.to_bytes(8, "big")).digest()

    def _sign(self, sender: str, operation: Operation) -> Transaction:
        return Transaction.sign(self._body(sender, operation, VALIDITY_MS), member_key(sender))

    def _body(self, sender: str, operation: Operation, validity_ms: int) -> TransactionBody:
        valid_until_ms = time.time_ns() // 1_000_000 + validity_ms
        return TransactionBody(self._chain_id, sender, valid_until_ms, (operation,))

    def _grant(self, fresh: bytes) -> Transaction:
        now_ms = time.time_ns() // 1_000_000
        issuer, recipient = self._source.sample(self._consortium.members, 2)
        crosses = jurisdiction(issuer) != jurisdiction(recipient)
        terms = ConsentTerms(
            recipient=recipient,
            purpose=PURPOSE,
            sources=(jurisdiction(issuer),),
            flags=SEPARATE_CONSENT | (CROSS_BORDER if crosses else 0),
            notice_version=bytes(32),
            terms_commitment=fresh,
            from_ms=now_ms - VALIDITY_MS,
            until_ms=now_ms + 100 * VALIDITY_MS,
            uses=100,
        )
        key = PrivateKey.from_seed(fresh)
        body = pack(GrantBody(self._chain_id, fresh[:16], now_ms + VALIDITY_MS, key.public, terms))
        grant = Grant(body, key.sign(GRANT_TAG, body))
        self._granted.append((key, grant))
        del self._granted[:-RECENT_MAX]
        return self._sign(self._source.choice(self._consortium.members), grant)

    def _withdrawal(self, key: PrivateKey, grant: Grant) -> Transaction:
        body = pack(WithdrawalBody(self._chain_id, key.public, grant.consent_id))
        sender = self._source.choice(self._consortium.members)
        return self._sign(sender, Withdraw(body, key.sign(WITHDRAWAL_TAG, body)))

    def _verification(self, key: PrivateKey, grant: Grant, fresh: bytes) -> Transaction:
        slot = self._source.choice((0, 0, 1))
        recipient = grant.decoded().terms.recipient
        return self._sign(
            recipient, RecordVerification(key.public, grant.consent_id, slot, fresh, "verified")
        )

    # -- reading ----------------------------------------------------------------------------------------

    async def _read(self) -> None:
        key = self._source.choice(self._keys) if self._keys else self._fresh()
        if self._source.random() < 0.2:
            # Not there yet, perhaps never: what is absent is proven as well.
            key = keys_created(self._make())[0]
        member = self._somebody()
        try:
            read = await read_proven(self._consortium.url(member), member, key, self._consortium.genesis)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        except LedgerError as error:
            self._history.bad_answers.append(f"{member}: proof of {key.hex()}: {error}")
            return
        if read is not None:
            self._history.reads.append(read)


async def read_proven(url: str, member: str, key: bytes, genesis: Genesis) -> Read | None:
    """Return a verified read of a state key; None where the node is not ready. Raises LedgerError for a lie."""
    async with (
        asyncio.timeout(PATIENCE_S),
        aiohttp.ClientSession() as session,
        session.get(f"{url}/v1/state/{key.hex()}") as response,
    ):
        content, status = await response.read(), response.status
    if status != 200:
        return None
    answer = parse_json(content)
    assert isinstance(answer, dict), "an answer is an object"
    return verify_read(answer, member, key, genesis)


def verify_read(answer: dict[str, Json], member: str, key: bytes, genesis: Genesis) -> Read:
    """Return what an answer proves. Raises LedgerError."""
    at = from_json(FinalizedHeader, answer["at"])
    encoded_header = EncodedHeader.decode(at.header)
    subject = at.certificate.subject
    at.certificate.verify(genesis.content.chain_id, genesis.content.validators)
    if subject.kind != FINALIZE or subject.block_hash != encoded_header.hash:
        raise LedgerError(
            where="certificate", expected=f"a finalization of {encoded_header.hash.hex()}", found=subject.kind
        )
    root = encoded_header.header.state_root
    value: bytes | None = None
    if answer["value"] is None:
        verify_absent(root, key, from_json(AbsenceProof, answer["absence"]))
    else:
        value = bytes.fromhex(str(answer["value"]))
        verify_present(root, key, value, from_json(InclusionProof, answer["inclusion"]))
    return Read(key, value, encoded_header.header.height, encoded_header.hash, member)
