"""A member suspends itself at once, on its own key; governors alone let it begin again."""

import pytest

from ledger.audit import SUSPENSIONS, Audit
from ledger.rules.operations import SuspendSelf
from ledger.rules.proposals import ReinstateMember, SuspendMember
from ledger.rules.state import Suspension
from tests.support.consortium import (
    Ledger,
    certify,
    key_of,
    make_anchor,
    make_genesis,
    make_transaction,
    member_key_of,
)
from tests.support.governors import (
    GOVERNORS,
    enact,
    member_of,
    propose,
    soon,
    status_of,
    suspend,
    vote,
    vote_refusal,
)

BUREAU, OPERATOR, BANK, RELAY = GOVERNORS


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def code_of(ledger: Ledger, member: str, number: int, distrust_from: int = 0) -> str:
    return ledger.refusal(soon(ledger, member, SuspendSelf(number, distrust_from))).code


def test_a_member_ends_its_own_operations_at_once(ledger: Ledger) -> None:
    ledger.record(make_transaction(BUREAU, make_anchor(1)))
    ledger.record(soon(ledger, BUREAU, SuspendSelf(0, 2)))
    member = member_of(ledger, BUREAU)
    assert member.suspensions == (Suspension(2, 2, None),) and member.version == 0
    assert not member.distrusts(1) and member.distrusts(2)
    assert ledger.refusal(soon(ledger, BUREAU, make_anchor(2))).code == "suspended"


def test_what_follows_in_the_same_transaction_is_ended_too(ledger: Ledger) -> None:
    both = soon(ledger, BUREAU, SuspendSelf(0, 0), make_anchor())
    assert ledger.refusal(both).code == "suspended"
    ledger.record(soon(ledger, BUREAU, make_anchor(), SuspendSelf(0, 1)))
    assert member_of(ledger, BUREAU).is_suspended


def test_only_the_member_s_own_key_suspends_it(ledger: Ledger) -> None:
    for key in (member_key_of(OPERATOR), key_of("a stranger"), member_key_of(BUREAU, 1)):
        forged = make_transaction(BUREAU, SuspendSelf(0, 0), key=key)
        assert ledger.refusal(forged).code == "signature"


def test_distrust_reaches_to_the_current_height_and_no_further(ledger: Ledger) -> None:
    assert code_of(ledger, BUREAU, 0, 2) == "distrust-ahead"
    ledger.record(soon(ledger, BUREAU, SuspendSelf(0, 1)))


@pytest.mark.parametrize("number", [1, 63, 2**64 - 1])
def test_a_suspension_of_a_number_to_come_is_refused(ledger: Ledger, number: int) -> None:
    assert code_of(ledger, BUREAU, number) == "wrong-sequence"


def test_a_suspension_sent_again_after_a_reinstatement_is_refused(ledger: Ledger) -> None:
    recorded = make_transaction(BUREAU, SuspendSelf(0, 0))
    ledger.record(recorded)
    assert ledger.refusal(recorded).code == "already-recorded"
    enact(ledger, ReinstateMember(BUREAU), 0)
    assert ledger.refusal(recorded).code == "already-recorded"
    assert code_of(ledger, BUREAU, 0, 0) == "already-recorded"
    assert code_of(ledger, BUREAU, 0, 1) == "wrong-sequence"
    ledger.record(soon(ledger, BUREAU, make_anchor()))
    ledger.record(soon(ledger, BUREAU, SuspendSelf(1, ledger.tip.header.height)))
    assert len(member_of(ledger, BUREAU).suspensions) == 2


def test_one_that_governors_widened_is_not_recorded_again(ledger: Ledger) -> None:
    recorded = soon(ledger, BUREAU, SuspendSelf(0, 1))
    ledger.record(recorded)
    enact(ledger, SuspendMember(BUREAU, 0), 0)
    enact(ledger, ReinstateMember(BUREAU), 1)
    assert ledger.refusal(recorded).code == "wrong-sequence"


def test_a_suspended_member_cannot_suspend_itself_again_or_widen_it(ledger: Ledger) -> None:
    enact(ledger, SuspendMember(BUREAU, 1), 0)
    for number in (0, 1):
        assert code_of(ledger, BUREAU, number, 0) == "suspended"


def test_a_side_keeps_a_governor_whoever_suspends_itself(ledger: Ledger) -> None:
    suspend(ledger, BANK)
    assert code_of(ledger, RELAY, 0) == "side-without-governor"
    ledger.record(soon(ledger, "mainland-bureau", SuspendSelf(0, 0)))


def test_of_a_side_s_two_governors_the_second_is_refused_in_the_same_block(ledger: Ledger) -> None:
    first, second = soon(ledger, BANK, SuspendSelf(0, 0)), soon(ledger, RELAY, SuspendSelf(0, 0))
    executed, refused = ledger.build(first, second)
    assert executed.block.transactions == (first,)
    assert [error.code for _, error in refused] == ["side-without-governor"]


def test_a_governor_that_suspended_itself_no_longer_counts(ledger: Ledger) -> None:
    identity = propose(ledger, SuspendMember("hk-bank", 0), 0)
    vote(ledger, identity, BUREAU, OPERATOR)
    ledger.record(soon(ledger, BUREAU, SuspendSelf(0, 0)))
    vote(ledger, identity, BANK)
    assert status_of(ledger, identity) == "open", "two of the three that are active"
    assert vote_refusal(ledger, identity, BUREAU).code == "suspended"
    vote(ledger, identity, RELAY)
    assert status_of(ledger, identity) == "passed"


def test_what_governors_proposed_about_the_member_is_not_stale(ledger: Ledger) -> None:
    identity = propose(ledger, SuspendMember(BUREAU, 0), 0)
    ledger.record(soon(ledger, BUREAU, SuspendSelf(0, 1)))
    vote(ledger, identity, OPERATOR, BANK, RELAY)
    assert member_of(ledger, BUREAU).suspensions == (Suspension(0, 2, None),), "it is widened"


def test_the_audit_counts_it(ledger: Ledger) -> None:
    ledger.record(soon(ledger, BUREAU, SuspendSelf(0, 0)))
    audit = Audit(make_genesis())
    for executed in ledger.blocks:
        assert audit.replay(executed.block, certify(executed))
    report = audit.finish()
    assert report.is_clean and report.deeds[SUSPENSIONS] == {BUREAU: 1}
