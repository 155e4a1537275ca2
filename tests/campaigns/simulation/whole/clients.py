"""The clients of a simulated chain: they submit transactions, and submit again until these are final.

Rule 1: the k-th transaction is the same in every world of the same consortium; the schedule decides when and
where it is first submitted.
Rule 2: a client that does not hear of finality in time submits the same bytes to another node, for ever.
Rule 3: `wanted` are the transactions that must become final: those that are valid whatever comes before them.
"""

import random
from functools import lru_cache

from ledger.errors import LedgerError
from ledger.rules.operations import AnchorBatch, RevokeAnchor, RevokeDocument
from ledger.rules.transactions import Transaction, TransactionBody
from node.errors import MempoolError
from tests.campaigns.simulation.whole.consortium import START_MS, Consortium

VALID_MS = 3_000_000
LIFETIME_SHORT_MS = 6_000
PATIENCE_MS = 4_000
DECIDED = frozenset(("proposal-decided", "already-recorded", "stale-version"))
"""What a governor hears when nothing more can come of a proposal, a vote or a rotation."""


def anchored_root(number: int) -> bytes:
    """Return the root that transaction `number` anchors."""
    return random.Random(number).randbytes(32)


@lru_cache(4_096)
def make_transaction(consortium: Consortium, number: int, *, are_real: bool) -> tuple[Transaction, bool]:
    """Return transaction `number`, and whether it must become final."""
    sender = consortium.members[number // 10 % len(consortium.members)]
    valid_until_ms = START_MS + VALID_MS
    operation: AnchorBatch | RevokeDocument | RevokeAnchor
    operation = AnchorBatch(anchored_root(number), 1, "hk.credit-report", None)
    is_wanted = True
    match number % 10:
        case 3:
            operation = RevokeDocument(anchored_root(-number - 1), "superseded")
        case 5:
            # The same anchor as the one before, in another transaction: one of the two is refused.
            operation = AnchorBatch(anchored_root(number - 1), 1, "hk.credit-report", None)
            valid_until_ms += 1
            is_wanted = False
        case 7:
            # It applies only after the anchor.
            operation = RevokeAnchor(anchored_root(number - 1), "error")
        case 9:
            valid_until_ms = START_MS + LIFETIME_SHORT_MS
            is_wanted = False
        case _:
            # Of the two with one anchor (4 and 5) either may win.
            is_wanted = number % 10 != 4
    body = TransactionBody(consortium.chain_id, sender, valid_until_ms, (operation,))
    return Transaction.sign(body, consortium.member_key(sender)), is_wanted


class Clients:
    """Everybody who submits."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, tuple[Transaction, int]] = {}
        self.wanted: set[bytes] = set()
        self.unmet: set[bytes] = set()
        self.governing: set[bytes] = set()
        self.submitted_count = 0
        self.refused_count = 0
        self.full_count = 0

    def take(self, transaction: Transaction, now_ms: int, *, is_wanted: bool) -> None:
        """Remember what was submitted."""
        self.submitted_count += 1
        self.waiting[transaction.id] = (transaction, now_ms + PATIENCE_MS)
        if is_wanted:
            self.wanted.add(transaction.id)
            self.unmet.add(transaction.id)

    def due(self, now_ms: int) -> list[Transaction]:
        """Return what to submit again now."""
        due = [transaction for transaction, again_ms in self.waiting.values() if again_ms <= now_ms]
        for transaction in due:
            self.waiting[transaction.id] = (transaction, now_ms + PATIENCE_MS)
        return due

    def became_final(self, transaction_id: bytes) -> None:
        """Stop waiting for a transaction."""
        self.waiting.pop(transaction_id, None)

    def was_refused(self, transaction: Transaction, error: LedgerError | MempoolError) -> None:
        """Hear a refusal. What must become final is submitted again; the rest is given up."""
        self.refused_count += 1
        if transaction.id in self.governing and error.code not in DECIDED:
            # A vote on a proposal that is not final yet, say: a governor who looks tries again at once.
            self.waiting[transaction.id] = (transaction, 0)
        elif transaction.id not in self.wanted:
            self.waiting.pop(transaction.id, None)
