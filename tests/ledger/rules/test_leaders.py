"""Who leads a view: the rotation, and that the core and the rules for headers agree on it."""

import pytest

from ledger.chain.execution import Divergence
from ledger.rules.leaders import leader_index
from node.consensus.rounds import FinalizedTip, Rounds
from tests.campaigns.simulation.core.signatures import make_validators
from tests.ledger.chain.test_execution import execute, with_header
from tests.support.consortium import VALIDATORS, Ledger


@pytest.mark.parametrize("count", range(1, 65))
def test_in_as_many_views_as_there_are_validators_each_leads_once(count: int) -> None:
    for epoch in range(3):
        for first in range(1, 2 * count):
            views = range(first, first + count)
            leaders = {leader_index(epoch=epoch, view=view, validators_count=count) for view in views}
            assert leaders == set(range(count))


def test_each_epoch_begins_one_further() -> None:
    leaders = [leader_index(epoch=epoch, view=1, validators_count=4) for epoch in range(6)]
    assert leaders == [1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_core_waits_for_the_leader_whose_header_the_rules_accept(count: int) -> None:
    for epoch in range(5):
        rounds = Rounds(make_validators(count), epoch, FinalizedTip(0, bytes(32), None))
        for view in range(1, 20):
            leader = leader_index(epoch=epoch, view=view, validators_count=count)
            assert rounds.leader_of(view) == rounds.at(view).leader == leader


@pytest.mark.parametrize("view", range(1, 6))
def test_a_block_is_right_under_its_leader_and_wrong_under_any_other(view: int) -> None:
    ledger = Ledger.start()
    block = ledger.build()[0].block
    leader = VALIDATORS[leader_index(epoch=0, view=view, validators_count=len(VALIDATORS))]
    for proposer in VALIDATORS:
        changed = with_header(block, view=view, proposer=proposer)
        if proposer == leader:
            assert execute(ledger, changed).block.header.proposer == leader
            continue
        with pytest.raises(Divergence, match="proposer"):
            execute(ledger, changed)
