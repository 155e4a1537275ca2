"""Rotations of member, validator and TLS keys: each rule obeyed and broken."""

from dataclasses import replace

import pytest

from ledger.encoding.keys import PrivateKey
from ledger.rules.operations import (
    MEMBER_KEY,
    ROTATION_TAG,
    VALIDATOR_KEY,
    CastVote,
    RotateKey,
    RotateTls,
    next_key_commitment,
)
from ledger.rules.state import Node, Validators, find, node_key, require_validators
from ledger.rules.tlscertificates import TlsCertificate
from tests.support.consortium import (
    CHAIN_ID,
    VALIDATORS,
    Ledger,
    key_of,
    make_anchor,
    make_rotation,
    make_transaction,
    member_key_of,
)
from tests.support.governors import (
    changing,
    member_of,
    propose,
    register_validator,
    soon,
    suspend,
    vote,
)

BUREAU = "hk-bureau"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def validator_key_of(member: str, sequence: int) -> PrivateKey:
    names = {0: f"{member} validator", 1: f"{member} next validator"}
    return key_of(names.get(sequence, f"{member} validator {sequence}"))


def rotating(
    member: str, sequence: int = 1, *, key: PrivateKey | None = None, next_key: bytes | None = None
) -> RotateKey:
    """Return the rotation of a member's validator key."""
    revealed = key or validator_key_of(member, sequence)
    commitment = next_key or next_key_commitment(validator_key_of(member, sequence + 1).public)
    unsigned = RotateKey(VALIDATOR_KEY, sequence, revealed.public, commitment, bytes(64))
    body = unsigned.signed_body(chain_id=CHAIN_ID, member=member)
    return replace(unsigned, signature=revealed.sign(ROTATION_TAG, body))


def certificate_of(number: int) -> TlsCertificate:
    return TlsCertificate(bytes([1]) * 20, bytes([number]) * 16, bytes([2]) * 64, bytes([3]) * 64)


def rotating_tls(
    member: str,
    sequence: int = 1,
    *,
    number: int = 1,
    key: PrivateKey | None = None,
    signer: PrivateKey | None = None,
) -> RotateTls:
    """Return the rotation of a member's TLS certificate."""
    revealed = key or member_key_of(member, 1)
    unsigned = RotateTls(sequence, certificate_of(number), revealed.public, bytes(64))
    body = unsigned.signed_body(chain_id=CHAIN_ID, member=member)
    return replace(unsigned, signature=(signer or revealed).sign(ROTATION_TAG, body))


def node_of(ledger: Ledger, member: str) -> Node:
    found = find(ledger.tip.state, Node, node_key(member))
    assert found is not None
    return found


def refusal(
    ledger: Ledger, member: str, operation: RotateKey | RotateTls, key: PrivateKey | None = None
) -> str:
    return ledger.refusal(make_transaction(member, operation, key=key)).code


# Member keys


def test_a_member_rotation_sent_again_is_already_recorded(ledger: Ledger) -> None:
    rotation = make_transaction(BUREAU, make_rotation(BUREAU))
    ledger.record(rotation)
    assert ledger.refusal(rotation).code == "already-recorded"
    again = make_transaction(BUREAU, make_rotation(BUREAU), key=member_key_of(BUREAU, 1))
    assert ledger.refusal(again).code == "already-recorded"


def test_another_rotation_to_the_same_key_is_never_called_recorded(ledger: Ledger) -> None:
    ledger.record(make_transaction(BUREAU, make_rotation(BUREAU)))
    revealed = member_key_of(BUREAU, 1)
    other = replace(make_rotation(BUREAU), next_key=next_key_commitment(key_of("other").public))
    body = other.signed_body(chain_id=CHAIN_ID, member=BUREAU)
    other = replace(other, signature=revealed.sign(ROTATION_TAG, body))
    assert refusal(ledger, BUREAU, other) == "signature"
    assert refusal(ledger, BUREAU, other, revealed) == "wrong-sequence"


def test_what_is_not_the_latest_rotation_alone_stands_by_its_signature(ledger: Ledger) -> None:
    first = make_transaction(BUREAU, make_rotation(BUREAU))
    ledger.record(first)
    mixed = make_transaction(BUREAU, make_rotation(BUREAU), make_anchor())
    assert ledger.refusal(mixed).code == "signature"
    ledger.record(make_transaction(BUREAU, make_rotation(BUREAU, 2), key=member_key_of(BUREAU, 1)))
    assert ledger.refusal(first).code == "signature", "an older rotation is not remembered"


# Validator keys


def test_a_validator_rotation_goes_through_the_pending_set(ledger: Ledger) -> None:
    before = require_validators(ledger.tip.state)
    ledger.record(make_transaction(BUREAU, rotating(BUREAU)))
    after = require_validators(ledger.tip.state)
    assert after.current == before.current and after.epoch == 0 and after.pending is not None
    changed = {v.member: v.key for v in after.pending.validators}
    assert changed == {v.member: v.key for v in before.current.validators} | {
        BUREAU: validator_key_of(BUREAU, 1).public
    }
    node = node_of(ledger, BUREAU)
    assert (node.validator_key, node.validator_key_sequence) == (validator_key_of(BUREAU, 1).public, 1)
    assert node.next_validator_key == next_key_commitment(validator_key_of(BUREAU, 2).public)
    assert member_of(ledger, BUREAU).key_sequence == 0
    ledger.record()
    assert require_validators(ledger.tip.state) == Validators(1, after.pending, None)


def test_a_validator_rotation_sent_again_is_already_recorded(ledger: Ledger) -> None:
    rotation = make_transaction(BUREAU, rotating(BUREAU))
    ledger.record(rotation)
    ledger.record()
    assert ledger.refusal(rotation).code == "already-recorded"


def test_one_rotation_is_pending_at_a_time(ledger: Ledger) -> None:
    both = [make_transaction(member, rotating(member)) for member in VALIDATORS[:2]]
    executed, refused = ledger.build(*both)
    assert [error.code for _, error in refused] == ["pending-set"]
    ledger.tip = executed.tip()
    ledger.record()
    assert ledger.tip.header.is_seal


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (rotating(BUREAU, 3), "wrong-sequence"),
        (rotating(BUREAU, 2), "wrong-sequence"),
        (rotating(BUREAU, key=key_of("thief")), "unexpected-key"),
        (rotating("hk-operator"), "signature"),
        (replace(rotating(BUREAU), next_key=bytes(32)), "signature"),
        (replace(rotating(BUREAU), role=MEMBER_KEY), "signature"),
    ],
)
def test_a_validator_rotation_out_of_order_or_by_a_thief_is_refused(
    ledger: Ledger, operation: RotateKey, code: str
) -> None:
    assert refusal(ledger, BUREAU, operation) == code


def test_a_member_without_a_validator_rotates_none(ledger: Ledger) -> None:
    assert refusal(ledger, "hk-bank", rotating("hk-bank")) == "no-node"


def test_a_suspended_member_rotates_nothing(ledger: Ledger) -> None:
    suspend(ledger, BUREAU)
    for operation in (make_rotation(BUREAU), rotating(BUREAU), rotating_tls(BUREAU)):
        assert refusal(ledger, BUREAU, operation) == "suspended"


def test_a_validator_rotates_though_another_is_suspended(ledger: Ledger) -> None:
    suspend(ledger, "hk-operator")
    ledger.record(make_transaction(BUREAU, rotating(BUREAU)))
    pending = require_validators(ledger.tip.state).pending
    assert pending is not None and pending.index_of("hk-operator") is not None


def test_a_key_that_does_not_vote_rotates_without_a_new_epoch(ledger: Ledger) -> None:
    register_validator(ledger, "hk-bank")
    ledger.record(make_transaction("hk-bank", rotating("hk-bank")))
    assert require_validators(ledger.tip.state).pending is None
    assert node_of(ledger, "hk-bank").validator_key == validator_key_of("hk-bank", 1).public


def test_a_key_of_a_pending_set_does_not_change_under_it(ledger: Ledger) -> None:
    register_validator(ledger, "hk-bank")
    identity = propose(ledger, changing(("hk-bank", *VALIDATORS[1:])))
    vote(ledger, identity, "hk-operator", "mainland-bank")
    last = soon(ledger, "sz-operator", CastVote(identity, "yes"))
    _, refused = ledger.build(last, make_transaction("hk-bank", rotating("hk-bank")))
    assert [error.code for _, error in refused] == ["pending-set"]


def test_a_validator_cannot_keep_out_a_change_by_rotating(ledger: Ledger) -> None:
    register_validator(ledger, "hk-bank")
    identity = propose(ledger, changing(("hk-bank", *VALIDATORS[1:])))
    vote(ledger, identity, "hk-operator", "mainland-bank")
    ledger.record(make_transaction(BUREAU, rotating(BUREAU)))
    ledger.record()
    assert require_validators(ledger.tip.state).epoch == 1
    # The vote meets the next rotation and is refused; sent again after the seal, it passes the change.
    again = soon(ledger, BUREAU, rotating(BUREAU, 2))
    executed, refused = ledger.build(again, soon(ledger, "sz-operator", CastVote(identity, "yes")))
    assert [error.code for _, error in refused] == ["pending-set"]
    ledger.tip = executed.tip()
    ledger.record()
    vote(ledger, identity, "sz-operator")
    pending = require_validators(ledger.tip.state).pending
    assert pending is not None and pending.index_of(BUREAU) is None


# TLS certificates


def test_a_tls_certificate_is_replaced_on_the_signature_of_the_next_key(ledger: Ledger) -> None:
    before = member_of(ledger, BUREAU)
    ledger.record(make_transaction(BUREAU, rotating_tls(BUREAU)))
    node = node_of(ledger, BUREAU)
    assert (node.tls_certificate, node.tls_sequence) == (certificate_of(1).der(BUREAU), 1)
    assert member_of(ledger, BUREAU) == before, "the next key stays next"
    assert require_validators(ledger.tip.state).pending is None
    ledger.record(make_transaction(BUREAU, rotating_tls(BUREAU, 2, number=2)))
    ledger.record(make_transaction(BUREAU, make_rotation(BUREAU)))


def test_a_tls_rotation_sent_again_is_already_recorded(ledger: Ledger) -> None:
    rotation = make_transaction(BUREAU, rotating_tls(BUREAU))
    ledger.record(rotation)
    assert ledger.refusal(rotation).code == "already-recorded"
    assert refusal(ledger, BUREAU, rotating_tls(BUREAU, 2)) == "unchanged"


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (rotating_tls(BUREAU, 0), "wrong-sequence"),
        (rotating_tls(BUREAU, 2), "wrong-sequence"),
        (rotating_tls(BUREAU, key=member_key_of(BUREAU)), "unexpected-key"),
        (rotating_tls(BUREAU, key=key_of("thief")), "unexpected-key"),
        (rotating_tls(BUREAU, signer=member_key_of(BUREAU)), "signature"),
        (rotating_tls("hk-operator", key=member_key_of(BUREAU, 1)), "signature"),
        (replace(rotating_tls(BUREAU), certificate=certificate_of(9)), "signature"),
    ],
)
def test_a_tls_rotation_out_of_order_or_by_a_thief_is_refused(
    ledger: Ledger, operation: RotateTls, code: str
) -> None:
    assert refusal(ledger, BUREAU, operation) == code


def test_a_member_without_a_node_has_no_certificate_to_replace(ledger: Ledger) -> None:
    assert refusal(ledger, "hk-bank", rotating_tls("hk-bank")) == "no-node"


def test_a_signature_for_one_role_is_none_for_another(ledger: Ledger) -> None:
    tls = rotating_tls(BUREAU)
    body = tls.signed_body(chain_id=CHAIN_ID, member=BUREAU)
    as_member = make_rotation(BUREAU)
    assert as_member.signed_body(chain_id=CHAIN_ID, member=BUREAU) != body
    assert refusal(ledger, BUREAU, replace(as_member, signature=tls.signature)) == "signature"
