"""Real node processes under chaos, for a short while; `make soak` goes on for as long as one likes."""

import asyncio
from pathlib import Path

from tests.chaos.soak import Soak

SEED = 20_260_728
FAULTS_MIN = 15
SECONDS_MAX = 45.0


def test_nothing_acknowledged_is_lost_under_chaos_and_every_node_comes_back(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=SEED, members_count=4, mounted=False, say=lambda _line: None)
    figures = asyncio.run(soak.run(lambda seconds, faults: faults >= FAULTS_MIN or seconds >= SECONDS_MAX))
    assert figures.violations == []
    assert figures.faults_count >= FAULTS_MIN
    assert len(soak.history.acknowledged) > 50
    assert len(soak.history.reads) > 10
