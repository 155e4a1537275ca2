"""Signatures of blocks that were fetched, checked ahead of their execution (docs/sync.md, Blocks).

Executing is a sequence, checking signatures is not: while one block is executed, another process checks those of the
next ones. What this asks of that process stands here; `node.sync.checkers` runs it.

Rule 1: what was checked ahead vouches for exact transaction bytes under the exact key that its sender had at the time.
Execution asks by the key that the parent's state holds, and checks itself where that is another.
Rule 2: what does not verify is not reported: execution checks it again, and says what is wrong.
Rule 3: nobody waits for an answer longer than ANSWER_MS, and without an answer execution checks itself.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from ledger.chain.overlays import State
from ledger.encoding.keys import PublicKey
from ledger.rules.blocks import Block
from ledger.rules.state import Member, find, member_key, require_members
from ledger.rules.transactions import VerifiedTransactions

ANSWER_MS: Final = 5_000
TRANSACTIONS_MIN: Final = 8
"""Fewer in a block are checked in turn: asking costs more."""

Keys = dict[str, PublicKey]


class Checks(Protocol):
    """Checks of one block's transactions, on their way or made."""

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to wait for."""
        ...

    @property
    def verdicts(self) -> bytes | None:
        """One byte for each transaction, 1 where it verifies; None where there is no answer."""
        ...


class Checker(Protocol):
    """Where checks are made."""

    def submit(self, transactions: Sequence[bytes], keys: Keys) -> Checks | None:
        """Have encoded transactions checked under their senders' keys; None where there is no room for it."""
        ...

    def give_up(self) -> None:
        """Take note that an answer did not come in time: nothing more is asked."""
        ...


def senders_keys(state: State) -> Keys:
    """Return the keys of all members: the best guess for blocks above this state."""
    members = ((each, find(state, Member, member_key(each))) for each in require_members(state).ids)
    return {each: member.key for each, member in members if member is not None}


def note_checked(block: Block, checks: Checks, keys: Keys, verified: VerifiedTransactions) -> None:
    """Note what was found valid."""
    if checks.verdicts is None:
        return
    for transaction, verdict in zip(block.transactions, checks.verdicts, strict=True):
        if verdict:
            verified.note(transaction, keys[transaction.body.sender])
