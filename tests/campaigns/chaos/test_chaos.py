"""Real node processes under chaos, for a short while; `make soak` goes on for as long as one likes."""

import asyncio
from pathlib import Path

import pytest

from tests.campaigns.chaos.soak import Soak

pytestmark = pytest.mark.slow

SEED = 20_260_728
FAULTS_MIN = 19
"""One of each kind, in an order of the seed."""
PACE = 0.2


def test_nothing_acknowledged_is_lost_under_chaos_and_every_node_comes_back(tmp_path: Path) -> None:
    soak = Soak(
        tmp_path,
        seed=SEED,
        members_count=4,
        mounted=False,
        say=lambda _line: None,
        pace=PACE,
        # How soon finality returns is asserted by `make soak`: here it is whatever this machine makes of it.
        is_return_bounded=False,
    )
    figures = asyncio.run(soak.run(lambda _seconds, faults: faults >= FAULTS_MIN))
    assert figures.violations == []
    assert len(figures.faults) == FAULTS_MIN
    assert len(soak.history.acknowledged) > 50
    assert len(soak.history.reads) > 10
