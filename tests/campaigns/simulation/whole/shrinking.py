"""From a schedule that fails to a smaller one that fails in the same way.

Rule 1: a fault is left out only if what remains still fails with the same claim.
"""

import re
from dataclasses import replace

from tests.campaigns.simulation.whole.schedule import Schedule
from tests.campaigns.simulation.whole.world import run

ATTEMPTS_MAX = 400


def claim_of(schedule: Schedule) -> str | None:
    """Return what a schedule violates, without times and names; None where it holds."""
    try:
        run(schedule)
    except Exception as error:  # noqa: BLE001 - any exception is a finding
        return f"{type(error).__name__} {re.sub(r'[0-9a-f]+', '', str(error)[:60])}"
    return None


def shrink(schedule: Schedule) -> Schedule:
    """Return a schedule with fewer faults that violates the same, or the same one where it holds."""
    claim = claim_of(schedule)
    if claim is None:
        return schedule
    attempts = 0
    size = max(1, len(schedule.faults) // 2)
    while size and attempts < ATTEMPTS_MAX:
        place = 0
        while place < len(schedule.faults) and attempts < ATTEMPTS_MAX:
            smaller = schedule.without(set(range(place, place + size)))
            attempts += 1
            if claim_of(smaller) == claim:
                schedule = smaller
            else:
                place += size
        size //= 2
    calm = replace(schedule, weather=replace(schedule.weather, loss_permille=0, duplicate_permille=0))
    return calm if claim_of(calm) == claim else schedule
