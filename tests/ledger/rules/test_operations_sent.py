"""Every operation is sent by something that tries the rules in sequences that nobody wrote down.

The model compares outcomes, the histories judge governance, and the simulation repeats both under faults. Each says
what it sends, and checks that it does. An operation that none of them sends is tried by its own tests alone.
"""

from ledger.rules.operations import OPERATION_CLASSES
from tests.campaigns.simulation.whole import campaign
from tests.ledger.rules import test_governance_histories as histories
from tests.ledger.rules import test_transition_model as model


def test_model_histories_and_simulation_together_send_every_operation() -> None:
    sent = model.SENDS | histories.SENDS | campaign.SENDS
    assert sent == set(OPERATION_CLASSES)
