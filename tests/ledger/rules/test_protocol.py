"""Rules change at a height that governors set; before it, a node that does not know them stops."""

from dataclasses import replace

import pytest

from ledger.audit import Audit
from ledger.chain.execution import UnknownProtocol, execute_block
from ledger.rules.proposals import SetParameters
from ledger.rules.state import Parameters, require_parameters
from ledger.rules.transactions import VerifiedTransactions
from tests.support.consortium import PARAMETERS, Ledger, certify, make_anchor, make_genesis
from tests.support.governors import enact, propose, put, refusal, soon, vote, vote_refusal


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.start()


def announced(protocol: int, height: int, before: Parameters = PARAMETERS) -> SetParameters:
    return SetParameters(before, replace(before, protocol=protocol, protocol_height=height))


# What governors may announce


def test_rules_are_announced_for_a_height_to_come_and_recorded_by_those_who_do_not_know_them(
    ledger: Ledger,
) -> None:
    enact(ledger, announced(2, 100))
    assert require_parameters(ledger.tip.state).protocol == 2
    ledger.record(soon(ledger, "hk-bureau", make_anchor()))


@pytest.mark.parametrize("height", [0, 1])
def test_rules_never_begin_where_the_chain_is(ledger: Ledger, height: int) -> None:
    assert refusal(ledger, announced(2, height)) == "protocol-too-soon"
    propose(ledger, announced(2, 2))


def test_a_height_that_the_chain_reached_while_the_vote_was_open_is_refused_with_the_vote(
    ledger: Ledger,
) -> None:
    identity = propose(ledger, announced(2, 4))
    vote(ledger, identity, "hk-bureau", "hk-operator")
    assert vote_refusal(ledger, identity, "mainland-bank").code == "protocol-too-soon"


def test_rules_in_force_have_no_other_height(ledger: Ledger) -> None:
    assert refusal(ledger, announced(1, 50)) == "protocol-in-force"


def test_a_height_to_come_may_be_moved_either_way_but_not_to_the_chain(ledger: Ledger) -> None:
    enact(ledger, announced(2, 100))
    now = require_parameters(ledger.tip.state)
    for height in (2**53 - 1, 99, 20):
        propose(ledger, announced(2, height, now))
    assert refusal(ledger, announced(2, ledger.tip.header.height, now)) == "protocol-too-soon"
    propose(ledger, announced(3, 100, now))


def test_numbers_never_fall(ledger: Ledger) -> None:
    enact(ledger, announced(3, 100))
    now = require_parameters(ledger.tip.state)
    for protocol in (1, 2):
        assert refusal(ledger, announced(protocol, 200, now)) == "protocol-falls"


def test_other_limits_change_whatever_is_announced(ledger: Ledger) -> None:
    enact(ledger, announced(2, 100))
    now = require_parameters(ledger.tip.state)
    enact(ledger, SetParameters(now, replace(now, block_size_max=4_096)))


# What a node that does not know them does


def test_the_last_block_below_the_height_is_built_and_the_next_is_not(ledger: Ledger) -> None:
    put(ledger, replace(PARAMETERS, protocol=2, protocol_height=3))
    ledger.record(soon(ledger, "hk-bureau", make_anchor(1)))
    ledger.record(soon(ledger, "hk-bureau", make_anchor(2)))
    with pytest.raises(UnknownProtocol, match="rules 2 from block 3 on") as unknown:
        ledger.build()
    assert (unknown.value.code, unknown.value.where) == ("unknown-protocol", "block 3")
    assert ledger.tip.header.height == 2


def test_a_block_at_the_height_is_not_executed_though_it_may_be_right(ledger: Ledger) -> None:
    ledger.record()
    before = ledger.tip
    executed, _ = ledger.build()
    assert execute_block(before, executed.block, verified=VerifiedTransactions())
    put(ledger, replace(PARAMETERS, protocol=2, protocol_height=2))
    with pytest.raises(UnknownProtocol):
        execute_block(
            replace(before, state=ledger.tip.state), executed.block, verified=VerifiedTransactions()
        )


def test_rules_that_are_known_go_on_at_their_height(ledger: Ledger) -> None:
    put(ledger, replace(PARAMETERS, protocol_height=1))
    ledger.record(soon(ledger, "hk-bureau", make_anchor()))


def test_an_audit_by_a_release_that_does_not_know_the_rules_stops_with_that_finding(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    enact(ledger, announced(2, 7))
    while ledger.tip.header.height < 6:
        ledger.record()
    monkeypatch.setattr("ledger.rules.state.PROTOCOL", 2)
    ledger.record()
    monkeypatch.undo()
    audit = Audit(make_genesis())
    replayed = [audit.replay(each.block, certify(each)) for each in ledger.blocks]
    assert replayed == [True] * 6 + [False]
    (finding,) = audit.report.findings
    assert (finding.height, finding.record) == (7, "block 7") and "rules 2" in finding.found
