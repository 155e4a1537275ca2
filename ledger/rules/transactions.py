"""Transactions: operations of one member, applied all or none (docs/formats.md, Transactions).

Rule 1: a transaction's id is the hash of body and signature. The same body under another signature is
another transaction, so a cached verification can never vouch for a signature it did not see.
Rule 2: a transaction holds 1 to 1,000 operations and at most TRANSACTION_SIZE_MAX bytes.
Rule 3: a relay never mixes holders, or a holder's and its own operations, in one transaction.
Rule 4: a verified transaction is remembered by (id, public key of the sender), nothing less.
Rule 5: what is counted is what is verified: the sender's signature, and each that an operation answers for.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from ledger.encoding.digests import tagged_digest
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import Hash, Items, MemberId, Milliseconds, Octets, SignatureBytes, pack, unpack
from ledger.errors import LedgerError
from ledger.rules.operations import Grant, Operation, SignedMessage, Withdraw

TRANSACTION_TAG: Final = "luohu/transaction/1"
TRANSACTION_ID_TAG: Final = "luohu/transaction-id/1"
OPERATIONS_MAX: Final = 1_000
TRANSACTION_SIZE_MAX: Final = 1024 * 1024
VERIFIED_MAX: Final = 50_000


class TransactionError(LedgerError):
    """A transaction that is malformed, whatever the state."""

    code = "transaction"


@dataclass(frozen=True, slots=True)
class TransactionBody:
    """What the sender signs. It may be recorded in blocks whose time is at most `valid_until_ms`."""

    chain_id: Hash
    sender: MemberId
    valid_until_ms: Milliseconds
    operations: Annotated[tuple[Operation, ...], Items(OPERATIONS_MAX, minimum=1)]


@dataclass(frozen=True, slots=True)
class _Envelope:
    body: Annotated[bytes, Octets(1, TRANSACTION_SIZE_MAX)]
    signature: SignatureBytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded transaction with the bytes it was received in, which are what is hashed and verified."""

    encoded: bytes
    id: bytes
    body: TransactionBody
    body_bytes: bytes
    signature: bytes
    carried: tuple[SignedMessage, ...]

    @classmethod
    def decode(cls, encoded: bytes) -> "Transaction":
        """Decode a transaction. Raises EncodingError or TransactionError."""
        envelope = unpack(_Envelope, encoded, size_max=TRANSACTION_SIZE_MAX)
        body = unpack(TransactionBody, envelope.body, size_max=TRANSACTION_SIZE_MAX)
        check_one_author(body.operations)
        identity = transaction_id(encoded)
        carried = tuple(
            message
            for operation in body.operations
            for message in operation.signed_messages(chain_id=body.chain_id, sender=body.sender)
        )
        return cls(encoded, identity, body, envelope.body, envelope.signature, carried)

    @classmethod
    def sign(cls, body: TransactionBody, key: PrivateKey) -> "Transaction":
        """Sign a body with the sender's member key. Raises EncodingError where the body does not fit."""
        body_bytes = pack(body)
        signature = key.sign(TRANSACTION_TAG, body_bytes)
        return cls.decode(pack(_Envelope(body_bytes, signature)))

    @property
    def signature_count(self) -> int:
        """How many signatures must be verified for this transaction."""
        return 1 + len(self.carried)

    def verify(self, sender_key: PublicKey) -> None:
        """Check the sender's signature and every one that its operations carry. Raises LedgerError."""
        own = SignedMessage(sender_key, TRANSACTION_TAG, self.body_bytes, self.signature)
        for message in (own, *self.carried):
            message.verify()


def transaction_id(encoded: bytes) -> bytes:
    """Return the 32-byte id of the transaction that these bytes encode, if they encode one."""
    return tagged_digest(TRANSACTION_ID_TAG, encoded)


def check_one_author(operations: Sequence[Operation]) -> None:
    """Check that all operations are the sender's own, or all one holder's. Raises LedgerError."""
    holders = {
        operation.decoded().consent_key if isinstance(operation, Grant | Withdraw) else None
        for operation in operations
    }
    if len(holders) > 1:
        raise TransactionError(
            where="operations", expected="one holder's, or the sender's own", found=f"{len(holders)} authors"
        )


class VerifiedTransactions:
    """A bounded memory of verifications, so that each signature is verified once per node.

    An entry vouches for the exact transaction bytes under the exact key of the sender, and for nothing else.
    """

    def __init__(self, capacity: int = VERIFIED_MAX) -> None:
        self._capacity = capacity
        self._known: OrderedDict[tuple[bytes, PublicKey], None] = OrderedDict()

    def verify(self, transaction: Transaction, sender_key: PublicKey) -> None:
        """Verify a transaction unless this very pair was verified before. Raises LedgerError."""
        entry = (transaction.id, sender_key)
        if entry in self._known:
            self._known.move_to_end(entry)
            return
        transaction.verify(sender_key)
        self.note(transaction, sender_key)

    def note(self, transaction: Transaction, sender_key: PublicKey) -> None:
        """Take note that this very pair was verified, by this node or by a process that works for it."""
        self._known[(transaction.id, sender_key)] = None
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
