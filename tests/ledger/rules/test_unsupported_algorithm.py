"""Keys of algorithms to come: refused by their name, wherever an operation holds one."""

import pytest

from ledger.encoding.codec import Value, encode
from ledger.encoding.records import pack, to_value
from ledger.errors import EncodingError, LedgerError, SignatureError
from ledger.rules.operations import Grant, Withdraw
from ledger.rules.transactions import Transaction
from tests.support.consortium import (
    Ledger,
    key_of,
    make_closing,
    make_grant,
    make_rotation,
    make_transaction,
    make_withdrawal,
    member_key_of,
)

RELAY = "sz-operator"
LATER = (2, b"\x02" + bytes(32))


def with_later_key(value: Value) -> Value:
    """Return an array form in which each Ed25519 key is one of P-256."""
    if isinstance(value, tuple):
        if len(value) == 2 and value[0] == 1 and isinstance(value[1], bytes) and len(value[1]) == 32:
            return LATER
        return tuple(with_later_key(item) for item in value)
    return value


def test_a_grant_by_such_a_key_is_refused_by_the_algorithm_s_name() -> None:
    body = encode(with_later_key(to_value(make_grant().decoded())))
    for operation in (Grant(body, bytes(64)), Grant(body, bytes(1_024))):
        error = refusal_of(operation)
        assert (error.code, error.found) == ("unsupported-algorithm", "one of P-256")


def test_so_is_a_withdrawal() -> None:
    body = encode(with_later_key(to_value(make_withdrawal(make_grant()).decoded())))
    assert refusal_of(Withdraw(body, bytes(64))).code == "unsupported-algorithm"


def refusal_of(operation: Grant | Withdraw) -> LedgerError:
    with pytest.raises(LedgerError) as refused:
        Ledger.start().refusal(make_transaction(RELAY, operation))
        raise AssertionError("it was let through to the rules")
    return refused.value


@pytest.mark.parametrize("operation", [make_closing(make_grant()), make_rotation("hk-bureau")])
def test_a_transaction_that_holds_such_a_key_does_not_decode(operation: object) -> None:
    transaction = make_transaction("hk-bureau", operation)  # type: ignore[arg-type]
    body = encode(with_later_key(to_value(transaction.body)))
    signed = encode((body, member_key_of("hk-bureau").sign("luohu/transaction/1", body)))
    with pytest.raises(LedgerError) as refused:
        Transaction.decode(signed)
    assert refused.value.code == "unsupported-algorithm"


@pytest.mark.parametrize("size", [63, 1_025])
def test_a_holder_s_signature_has_room_for_what_is_reserved_and_no_more(size: int) -> None:
    grant = make_grant()
    with pytest.raises(EncodingError, match="64 to 1024 bytes"):
        pack(Grant(grant.body, bytes(size)))


def test_of_ed25519_a_signature_has_64_bytes_whatever_room_there_is() -> None:
    grant = make_grant()
    longer = Grant(grant.body, grant.signature + b"\0")
    error = Ledger.start().refusal(make_transaction(RELAY, longer))
    assert isinstance(error, SignatureError) and error.expected == "64 bytes"
    assert key_of("holder").public == grant.decoded().consent_key
