"""A process that checks signatures for a node, and knows nothing else of it (docs/sync.md, Blocks).

    python -m node.sync.checker

Rule 1: it is given public data on its standard input and answers on its standard output. It holds no key, opens no
file and no socket, and ends without a word when its input does, or when nobody reads its answers any more.
Rule 2: a question is its size in four bytes, then one `Question`; the answer is one byte for each transaction, 1
where it verifies under its sender's key.
"""

import signal
import sys
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Final

from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Items, MemberId, Octets, unpack
from ledger.errors import LedgerError
from ledger.rules.blocks import BLOCK_TRANSACTIONS_MAX
from ledger.rules.state import MEMBERS_MAX
from ledger.rules.transactions import TRANSACTION_SIZE_MAX, Transaction

SIZE_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class SenderKey:
    """A member and its key."""

    member: MemberId
    key: PublicKey


@dataclass(frozen=True, slots=True)
class Question:
    """Encoded transactions, and the keys of those who may have sent them."""

    keys: Annotated[tuple[SenderKey, ...], Items(MEMBERS_MAX)]
    transactions: Annotated[
        tuple[Annotated[bytes, Octets(1, TRANSACTION_SIZE_MAX)], ...],
        Items(BLOCK_TRANSACTIONS_MAX, minimum=1),
    ]


def verdicts(question: Question) -> bytes:
    """Return one byte for each transaction: 1 where it verifies."""
    keys = {each.member: each.key for each in question.keys}
    return bytes(_verifies(encoded, keys) for encoded in question.transactions)


def _verifies(encoded: bytes, keys: dict[str, PublicKey]) -> bool:
    try:
        transaction = Transaction.decode(encoded)
        key = keys.get(transaction.body.sender)
        if key is None:
            return False
        transaction.verify(key)
    except LedgerError:
        return False
    return True


def answer_all(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer one question after the other until there are no more."""
    while len(size := questions.read(SIZE_BYTES)) == SIZE_BYTES:
        expected = int.from_bytes(size)
        encoded = questions.read(expected)
        if len(encoded) < expected:
            return
        answers.write(verdicts(unpack(Question, encoded)))
        answers.flush()


def main() -> None:
    """Work for the process that started this one."""
    # An interrupt from a terminal is for the node, which ends this process in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where the node was killed, an answer has no reader: that ends this process too.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    answer_all(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
