"""Deliberate defects, each of which the simulation of whole nodes must find within a stated number of seeds."""

import re

import pytest

from tests.campaigns.simulation.whole.defects import DEFECTS, injected
from tests.campaigns.simulation.whole.schedule import plan
from tests.campaigns.simulation.whole.world import run

pytestmark = [pytest.mark.slow, pytest.mark.busy]

FIRST_SEED = 5_000


def hunt(name: str) -> str:
    """Run seeds until one fails, and return the violated claim."""
    with injected(name) as defect:
        for seed in range(FIRST_SEED, FIRST_SEED + defect.seeds_max):
            schedule = plan(seed, validators_count=4, byzantine=defect.byzantine)
            try:
                run(schedule)
            except Exception as error:  # noqa: BLE001 - whatever ends a history finds the defect
                return f"{type(error).__name__}: {error}"
    pytest.fail(f"{defect.seeds_max} seeds did not find {name}")


@pytest.mark.parametrize("name", DEFECTS)
def test_the_simulation_finds(name: str) -> None:
    claim = hunt(name)
    assert re.search(DEFECTS[name].claim, claim), claim


def test_there_are_enough_defects_and_none_is_left_behind() -> None:
    assert len(DEFECTS) >= 20
    with injected("votes_are_not_recorded"):
        pass
    run(plan(FIRST_SEED, validators_count=4))
