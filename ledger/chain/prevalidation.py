"""Signatures checked ahead of a replay, on other cores.

A replay is a sequence: a block is executed on its parent. Its signatures are not: they can be checked before their
turn comes, anywhere, as long as execution asks under which key.

Rule 1: a check made ahead vouches for exact transaction bytes under an exact key of the sender, like one made in turn.
Execution reads the key from the parent's state; where it is another by then, it checks the signature itself.
Rule 2: what is refused ahead is not reported: it is checked again in turn, where the report names block and place.
Rule 3: at most SPANS_AHEAD_MAX spans of blocks are on their way.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from ledger.encoding.keys import PublicKey
from ledger.errors import LedgerError
from ledger.rules.blocks import Block
from ledger.rules.state import Member, StateView, find, member_key
from ledger.rules.transactions import Transaction, VerifiedTransactions

SPANS_AHEAD_MAX: Final = 8
SPAN_TRANSACTIONS: Final = 1_000
SPAN_BLOCKS_MAX: Final = 256
# Fewer are checked in turn before another process has them.
SPAN_TRANSACTIONS_MIN: Final = 64

Check = tuple[bytes, PublicKey]
"""An encoded transaction, and its sender's key."""

C = TypeVar("C")


class Pending(Protocol):
    """Checks that are on their way."""

    def result(self) -> list[bool]:
        """Wait for them, and return which transactions verify."""
        ...


class Pool(Protocol):
    """Where checks are made: a `concurrent.futures.Executor`, on this machine or on many."""

    def submit(self, work: Callable[[list[Check]], list[bool]], checks: list[Check], /) -> Pending:
        """Have the checks made, and return at once."""
        ...


@dataclass(slots=True)
class _Span(Generic[C]):
    blocks: list[tuple[Block, C]]
    count: int = 0
    noted: list[tuple[Transaction, PublicKey]] | None = None
    pending: Pending | None = None

    @property
    def is_full(self) -> bool:
        return self.count >= SPAN_TRANSACTIONS or len(self.blocks) >= SPAN_BLOCKS_MAX


def check_all(checks: list[Check]) -> list[bool]:
    """Return which of these transactions verify under their keys. This is what a pool's processes run."""
    return [_verifies(encoded, key) for encoded, key in checks]


def _verifies(encoded: bytes, key: PublicKey) -> bool:
    try:
        Transaction.decode(encoded).verify(key)
    except LedgerError:
        return False
    return True


def prevalidated(
    blocks: Iterable[tuple[Block, C]], pool: Pool, verified: VerifiedTransactions, state: StateView
) -> Iterator[tuple[Block, C]]:
    """Yield blocks as they come, their signatures checked by the pool and noted in `verified`.

    `state` is the replayed state, whichever that is at the time: its keys are the best guess for what comes.
    """
    spans: deque[_Span[C]] = deque()
    filling: _Span[C] = _Span([])
    for block, certificate in blocks:
        filling.blocks.append((block, certificate))
        filling.count += len(block.transactions)
        if filling.is_full:
            spans.append(_begin(filling, pool, state))
            filling = _Span([])
            if len(spans) > SPANS_AHEAD_MAX:
                yield from _settle(spans.popleft(), verified)
    spans.append(_begin(filling, pool, state))
    for span in spans:
        yield from _settle(span, verified)


def _begin(span: _Span[C], pool: Pool, state: StateView) -> _Span[C]:
    if span.count < SPAN_TRANSACTIONS_MIN:
        return span
    keys: dict[str, PublicKey | None] = {}
    span.noted = []
    for block, _ in span.blocks:
        for transaction in block.transactions:
            sender = transaction.body.sender
            if sender not in keys:
                member = find(state, Member, member_key(sender))
                keys[sender] = None if member is None else member.key
            key = keys[sender]
            if key is not None:
                span.noted.append((transaction, key))
    span.pending = pool.submit(check_all, [(transaction.encoded, key) for transaction, key in span.noted])
    return span


def _settle(span: _Span[C], verified: VerifiedTransactions) -> Iterator[tuple[Block, C]]:
    if span.pending is not None and span.noted is not None:
        for (transaction, key), is_valid in zip(span.noted, span.pending.result(), strict=True):
            if is_valid:
                verified.note(transaction, key)
    yield from span.blocks
