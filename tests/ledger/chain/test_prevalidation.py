"""Signatures checked ahead: the replay finds what it finds without, and no lie of a pool gets past the state's keys."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from bench.memory_chain import MemoryChain
from ledger.audit import Audit, AuditReport
from ledger.chain import prevalidation
from ledger.chain.prevalidation import SPANS_AHEAD_MAX, Check, check_all, prevalidated
from ledger.encoding.keys import PrivateKey
from ledger.encoding.records import pack
from ledger.rules.blocks import Block, EncodedHeader, transactions_root
from ledger.rules.certificates import QuorumCertificate
from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction, TransactionBody, VerifiedTransactions, _Envelope

Blocks = list[tuple[Block, QuorumCertificate | None]]
ISSUER = "hk-bureau"


@dataclass
class Answered:
    answers: list[bool]

    def result(self) -> list[bool]:
        return self.answers


@dataclass
class InTurn:
    """A pool that checks at once, and counts."""

    count: int = 0
    answer: Callable[[list[Check]], list[bool]] = check_all
    sizes: list[int] = field(default_factory=list)

    def submit(self, work: Callable[[list[Check]], list[bool]], checks: list[Check], /) -> Answered:
        assert work is check_all
        self.sizes.append(len(checks))
        return Answered(self.answer(checks))


@pytest.fixture(scope="module")
def chain() -> tuple[MemoryChain, Blocks]:
    made = MemoryChain()
    source = random.Random("ahead")
    blocks: Blocks = []
    for _ in range(40):
        made.extend(ISSUER, AnchorBatch(source.randbytes(32), 1, "hk.credit-report", None))
        blocks.append((made.block, made.certificate()))
    return made, blocks


@pytest.fixture(autouse=True)
def small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prevalidation, "SPAN_TRANSACTIONS", 3)
    monkeypatch.setattr(prevalidation, "SPAN_TRANSACTIONS_MIN", 2)


def audit(made: MemoryChain, blocks: Blocks, pool: InTurn | None) -> AuditReport:
    replay = Audit(made.genesis)
    replay.replay_all(iter(blocks), pool)
    return replay.finish()


def test_a_replay_with_checks_ahead_finds_what_it_finds_without(chain: tuple[MemoryChain, Blocks]) -> None:
    made, blocks = chain
    pool = InTurn()
    assert audit(made, blocks, pool) == audit(made, blocks, None)
    # 40 blocks of one transaction are 13 spans of three; the one that is left is too few.
    assert pool.sizes == [3] * 13


def test_a_forged_signature_is_named_as_without(chain: tuple[MemoryChain, Blocks]) -> None:
    made, blocks = chain
    forged = forge(blocks)
    with_pool, without = audit(made, forged, InTurn()), audit(made, forged, None)
    assert with_pool == without
    (finding,) = with_pool.findings
    assert finding.height == 8
    assert "signature" in finding.record


def test_a_pool_that_refuses_everything_changes_nothing(chain: tuple[MemoryChain, Blocks]) -> None:
    made, blocks = chain
    refusing = InTurn(answer=lambda checks: [False] * len(checks))
    assert audit(made, blocks, refusing) == audit(made, blocks, None)


def test_a_check_under_another_key_vouches_for_nothing() -> None:
    key, other = PrivateKey.from_seed(bytes(32)), PrivateKey.from_seed(b"\x01" * 32)
    body = TransactionBody(bytes(32), ISSUER, 1, (AnchorBatch(bytes(32), 1, "hk.credit-report", None),))
    transaction = Transaction.sign(body, key)
    verified = VerifiedTransactions()
    verified.note(transaction, key.public)
    verified.verify(transaction, key.public)
    with pytest.raises(Exception, match="verifies under"):
        verified.verify(transaction, other.public)


def test_blocks_come_in_order_and_only_so_far_ahead(chain: tuple[MemoryChain, Blocks]) -> None:
    made, blocks = chain
    taken = 0

    def counted() -> Iterator[tuple[Block, QuorumCertificate | None]]:
        nonlocal taken
        for each in blocks:
            taken += 1
            yield each

    yielded = []
    for block, _ in prevalidated(counted(), InTurn(), VerifiedTransactions(), made):
        yielded.append(block.header.height)
        assert taken - len(yielded) <= 3 * (SPANS_AHEAD_MAX + 1)
    assert yielded == [block.header.height for block, _ in blocks]


def test_undecodable_bytes_do_not_verify() -> None:
    key = PrivateKey.from_seed(bytes(32)).public
    assert check_all([(b"", key), (b"\x92", key)]) == [False, False]


def forge(blocks: Blocks) -> Blocks:
    """Replace the signature in the block at height 8, and make its header agree."""
    forged = list(blocks)
    block, certificate = forged[7]
    (transaction,) = block.transactions
    spoilt = Transaction.decode(pack(_Envelope(transaction.body_bytes, bytes(64))))
    header = replace(block.header, transactions_root=transactions_root((spoilt.id,)))
    forged[7] = (Block(EncodedHeader.encode(header), (spoilt,)), certificate)
    return forged
