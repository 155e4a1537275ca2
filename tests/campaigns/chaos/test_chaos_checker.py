"""The judge of the chaos runs can find: lost, doubled, forked, resurrected and contradicted, each shown by one."""

from dataclasses import replace

import pytest

from ledger.encoding.records import pack
from ledger.rules.blocks import Block
from ledger.rules.operations import ROTATION_TAG, AnchorBatch, RevokeAnchor, RotateTls
from ledger.rules.state import Anchor, Revoked, anchor_key
from node.network.tls import make_identity, registrable
from tests.campaigns.chaos.checker import judge
from tests.campaigns.chaos.history import Acknowledged, History, Read, RefusedForGood, Rotated
from tests.support.consortium import CHAIN_ID, REPORT, Ledger, hash_of, make_transaction, member_key_of

ISSUER = "hk-bureau"
FIRST = make_transaction(ISSUER, AnchorBatch(hash_of("first"), 1, REPORT, None))
SECOND = make_transaction(ISSUER, AnchorBatch(hash_of("second"), 1, REPORT, None))
REVOKED = make_transaction(ISSUER, RevokeAnchor(hash_of("first"), "error"))
KEY = anchor_key(ISSUER, hash_of("first"))


def make_log() -> list[Block]:
    """Three blocks: an anchor, another, and the revocation of the first."""
    ledger = Ledger.start()
    return [ledger.record(each).block for each in (FIRST, SECOND, REVOKED)]


LOG = make_log()
LOGS = {"a": LOG, "b": LOG}


def value_at(height: int) -> bytes:
    header = LOG[0].header
    anchor = Anchor(ISSUER, hash_of("first"), 1, REPORT, 0, 0, 0, None, 1, header.time_ms, 0, 0, None)
    if height == 3:
        anchor = replace(anchor, revoked=Revoked("error", 3, LOG[2].header.time_ms))
    return pack(anchor)


def read_at(height: int, value: bytes | None) -> Read:
    return Read(KEY, value, height, LOG[height - 1].hash, "a")


def honest() -> History:
    """What clients of an honest network are told."""
    return History(
        acknowledged=[Acknowledged(FIRST.id, 1, "a"), Acknowledged(SECOND.id, 2, "b")],
        refused=[RefusedForGood(hash_of("refused"), "already-recorded", "a")],
        reads=[read_at(1, value_at(1)), read_at(2, value_at(2)), read_at(3, value_at(3))],
    )


def test_an_honest_history_is_found_whole() -> None:
    found = judge(honest(), LOGS)
    assert found.violations == []
    assert (found.height, found.transactions_count) == (3, 3)


def test_an_acknowledged_transaction_that_no_log_has_is_lost() -> None:
    history = honest()
    history.acknowledged.append(Acknowledged(hash_of("lost"), 2, "a"))
    assert len(judge(history, LOGS).lost) == 1


def test_an_acknowledged_transaction_at_another_height_is_lost() -> None:
    history = honest()
    history.acknowledged.append(Acknowledged(FIRST.id, 2, "a"))
    assert len(judge(history, LOGS).lost) == 1


def test_an_acknowledged_transaction_that_one_node_lacks_is_lost_there() -> None:
    (lost,) = judge(honest(), {"a": LOG, "b": LOG[:1]}).lost
    assert "b ends at 1" in lost


def test_a_transaction_in_the_log_twice_is_doubled() -> None:
    again = Block(LOG[2].encoded_header, (FIRST,))
    found = judge(History(), {"a": [*LOG[:2], again]})
    assert any("at heights 1 and 3" in each for each in found.doubled)


def test_a_record_that_two_transactions_make_is_doubled() -> None:
    other = make_transaction(ISSUER, FIRST.body.operations[0], valid_until_ms=FIRST.body.valid_until_ms + 1)
    found = judge(History(), {"a": [*LOG[:2], Block(LOG[2].encoded_header, (other,))]})
    assert any("was made 2 times" in each for each in found.doubled)


def test_another_block_at_a_height_is_a_fork() -> None:
    ledger = Ledger.start()
    other = ledger.record(SECOND).block
    assert len(judge(History(), {"a": LOG, "b": [other]}).forked) == 1


def test_a_transaction_that_was_refused_for_good_must_be_nowhere() -> None:
    history = honest()
    history.refused.append(RefusedForGood(SECOND.id, "expired", "a"))
    assert len(judge(history, LOGS).resurrected) == 1


@pytest.mark.parametrize(
    "reads",
    [
        [read_at(1, None)],
        [read_at(3, value_at(3)), read_at(2, None)],
        [Read(hash_of("never"), value_at(1), 2, LOG[1].hash, "a")],
        [Read(KEY, value_at(1), 2, hash_of("no block"), "a")],
        [Read(KEY, value_at(1), 9, LOG[1].hash, "a")],
        [read_at(2, value_at(3)), read_at(3, value_at(1))],
        [read_at(2, value_at(2)), read_at(2, value_at(3))],
    ],
    ids=["absent", "absent later", "present", "no such block", "too high", "unrevoked", "two values"],
)
def test_a_read_that_the_log_or_another_read_contradicts_is_found(reads: list[Read]) -> None:
    assert judge(History(reads=reads), LOGS).contradicted


def test_a_rotation_that_the_log_does_not_have_once_at_its_height_is_lost() -> None:
    ledger = Ledger.start()
    sender, fresh = ISSUER, make_identity(ISSUER)
    unsigned = RotateTls(
        1, registrable(fresh.certificate, sender), member_key_of(sender, 1).public, bytes(64)
    )
    body = unsigned.signed_body(chain_id=CHAIN_ID, member=sender)
    rotation = replace(unsigned, signature=member_key_of(sender, 1).sign(ROTATION_TAG, body))
    log = [ledger.record(make_transaction(sender, rotation)).block]
    for told in (Rotated(sender, 1, 1), Rotated(sender, 1, None)):
        assert judge(History(rotations=[told]), {"a": log}).violations == []
    for told in (Rotated(sender, 1, 2), Rotated(sender, 2, 1), Rotated("another", 1, 1)):
        assert len(judge(History(rotations=[told]), {"a": log}).lost) == 1
    again = [*log, Block(log[0].encoded_header, log[0].transactions)]
    assert judge(History(rotations=[Rotated(sender, 1, 1)]), {"a": again}).lost


def test_a_proof_that_did_not_verify_is_a_contradiction() -> None:
    assert judge(History(bad_answers=["a: proof"]), LOGS).contradicted == ["a: proof"]
