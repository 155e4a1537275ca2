"""Transactions: an id binds the signature, authors are not mixed, and a cache vouches for what it saw."""

from dataclasses import replace

import pytest

from ledger.encoding.codec import decode, encode
from ledger.encoding.records import pack
from ledger.errors import EncodingError, LedgerError, SignatureError
from ledger.rules.operations import AnchorBatch, Grant, Withdraw
from ledger.rules.transactions import (
    OPERATIONS_MAX,
    TRANSACTION_SIZE_MAX,
    TRANSACTION_TAG,
    Transaction,
    TransactionBody,
    TransactionError,
    VerifiedTransactions,
)
from tests.support.consortium import (
    CHAIN_ID,
    START_MS,
    key_of,
    make_anchor,
    make_closing,
    make_grant,
    make_rotation,
    make_transaction,
    make_withdrawal,
    member_key_of,
)

BUREAU_KEY = member_key_of("hk-bureau").public


def with_signature(transaction: Transaction, signature: bytes) -> Transaction:
    return Transaction.decode(encode((transaction.body_bytes, signature)))


def false_signature() -> bytes:
    return key_of("nobody").sign(TRANSACTION_TAG, b"something else")


def anchors(count: int) -> tuple[AnchorBatch, ...]:
    return (make_anchor(),) * count


def test_a_transaction_decodes_to_what_was_signed() -> None:
    transaction = make_transaction("hk-bureau", make_anchor(), make_anchor(1))
    assert Transaction.decode(transaction.encoded) == transaction
    transaction.verify(BUREAU_KEY)


def test_the_id_binds_the_signature() -> None:
    transaction = make_transaction("hk-bureau", make_anchor())
    other = with_signature(transaction, false_signature())
    assert other.body == transaction.body
    assert other.id != transaction.id


def test_every_flipped_byte_is_refused_or_is_another_transaction_that_does_not_verify() -> None:
    transaction = make_transaction("hk-bureau", make_anchor())
    for index in range(len(transaction.encoded)):
        altered = bytearray(transaction.encoded)
        altered[index] ^= 1
        try:
            other = Transaction.decode(bytes(altered))
        except LedgerError:
            continue
        assert other.id != transaction.id
        with pytest.raises(SignatureError):
            other.verify(BUREAU_KEY)


def test_holders_and_revealed_keys_are_verified_too() -> None:
    grant, rotation = make_grant(), make_rotation("hk-bureau")
    withdrawal = make_withdrawal(grant)
    false = false_signature()
    for operation in (grant, withdrawal, rotation):
        make_transaction("hk-bureau", operation).verify(BUREAU_KEY)
        with pytest.raises(SignatureError):
            make_transaction("hk-bureau", replace(operation, signature=false)).verify(BUREAU_KEY)


def test_a_grants_signature_is_not_one_of_its_withdrawal() -> None:
    grant = make_grant()
    withdrawal = Withdraw(make_withdrawal(grant).body, grant.signature)
    with pytest.raises(SignatureError):
        withdrawal.verify()
    with pytest.raises(LedgerError):
        Grant(withdrawal.body, grant.signature).verify()


def test_signatures_are_counted() -> None:
    grant = make_grant()
    assert make_transaction("hk-bureau", *anchors(3)).signature_count == 1
    assert make_transaction("hk-bureau", grant, make_withdrawal(grant)).signature_count == 3
    assert make_transaction("hk-bureau", make_rotation("hk-bureau"), make_anchor()).signature_count == 2


def test_one_holders_operations_travel_together() -> None:
    grant, second = make_grant(), make_grant(nonce=bytes([1]) * 16)
    make_transaction("hk-operator", grant, make_withdrawal(grant), second)


def test_two_holders_or_a_holder_and_the_relay_never_share_a_transaction() -> None:
    grant = make_grant()
    for operations in (
        (grant, make_grant("another holder")),
        (grant, make_withdrawal(make_grant("another holder"), "another holder")),
        (grant, make_anchor()),
        (make_closing(grant), make_withdrawal(grant)),
    ):
        with pytest.raises(TransactionError, match="2 authors"):
            make_transaction("hk-bureau", *operations)


def test_a_holders_body_that_does_not_decode_is_refused_with_its_transaction() -> None:
    grant = make_grant()
    for broken in (replace(grant, body=grant.body + b"\x00"), Withdraw(grant.body[:100], grant.signature)):
        with pytest.raises(EncodingError):
            make_transaction("hk-operator", broken)


def test_a_transaction_holds_operations_to_the_limit_and_no_more() -> None:
    assert len(make_transaction("hk-bureau", *anchors(OPERATIONS_MAX)).body.operations) == 1_000
    for count in (0, OPERATIONS_MAX + 1):
        with pytest.raises(EncodingError, match="1 to 1000 items"):
            make_transaction("hk-bureau", *anchors(count))
    encoded = make_transaction("hk-bureau", *anchors(OPERATIONS_MAX)).body_bytes
    body = decode(encoded)
    assert isinstance(body, tuple)
    *before, operations = body
    assert isinstance(operations, tuple)
    longer = encode((*before, (*operations, operations[0])))
    with pytest.raises(EncodingError, match="1 to 1000 items"):
        Transaction.decode(encode((longer, bytes(64))))


def test_a_transaction_is_as_large_as_the_limit_and_no_larger() -> None:
    body = make_transaction("hk-bureau", make_anchor()).body_bytes
    overhead = 1 + 5 + 66
    largest = encode((body + bytes(TRANSACTION_SIZE_MAX - overhead - len(body)), bytes(64)))
    assert len(largest) == TRANSACTION_SIZE_MAX
    with pytest.raises(EncodingError) as at_limit:
        Transaction.decode(largest)
    assert "at most" not in at_limit.value.expected, "refused for its content, not for its size"
    with pytest.raises(EncodingError, match=f"at most {TRANSACTION_SIZE_MAX} bytes"):
        Transaction.decode(encode((body + bytes(TRANSACTION_SIZE_MAX - overhead - len(body) + 1), bytes(64))))


def test_bytes_that_are_no_transaction_are_refused() -> None:
    transaction = make_transaction("hk-bureau", make_anchor())
    for data in (
        b"",
        transaction.encoded[:-1],
        transaction.encoded + b"\x00",
        encode((transaction.body_bytes,)),
        encode((transaction.body_bytes, transaction.signature[:-1])),
        encode((transaction.body_bytes[:-1], transaction.signature)),
        encode(("transaction", transaction.body_bytes, transaction.signature)),
    ):
        with pytest.raises(EncodingError):
            Transaction.decode(data)


def test_an_admitted_body_with_another_signature_is_verified_again() -> None:
    verified = VerifiedTransactions()
    transaction = make_transaction("hk-bureau", make_anchor())
    verified.verify(transaction, BUREAU_KEY)
    verified.verify(transaction, BUREAU_KEY)
    with pytest.raises(SignatureError):
        verified.verify(with_signature(transaction, false_signature()), BUREAU_KEY)


def test_an_admitted_transaction_does_not_pass_under_another_key() -> None:
    verified = VerifiedTransactions()
    transaction = make_transaction("hk-bureau", make_anchor())
    verified.verify(transaction, BUREAU_KEY)
    with pytest.raises(SignatureError):
        verified.verify(transaction, member_key_of("hk-bureau", 1).public)


def test_a_failed_verification_is_not_remembered() -> None:
    verified = VerifiedTransactions()
    false = with_signature(make_transaction("hk-bureau", make_anchor()), false_signature())
    for _ in range(2):
        with pytest.raises(SignatureError):
            verified.verify(false, BUREAU_KEY)


def test_the_memory_of_verifications_is_bounded_and_forgets_the_least_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[bytes] = []
    verify = Transaction.verify

    def counted(self: Transaction, sender_key: object) -> None:
        checked.append(self.id)
        verify(self, sender_key)  # type: ignore[arg-type]

    monkeypatch.setattr(Transaction, "verify", counted)
    verified = VerifiedTransactions(capacity=2)
    first, second, third = (make_transaction("hk-bureau", make_anchor(number)) for number in range(3))
    for transaction in (first, second, first, third, first, second):
        verified.verify(transaction, BUREAU_KEY)
    assert checked == [first.id, second.id, third.id, second.id]


def test_the_body_of_a_transaction_is_four_fields() -> None:
    body = TransactionBody(CHAIN_ID, "hk-bureau", START_MS, (make_anchor(),))
    value = decode(pack(body))
    assert isinstance(value, tuple)
    assert value[:3] == (CHAIN_ID, "hk-bureau", START_MS)
