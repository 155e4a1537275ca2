"""Floods from outside and from inside, each for a moment: others keep their second, the flooded node its bounds, and
every honest call at the flooded node and at the recipient's service is answered.

What a flood costs is measured on whatever machine this is, beside everything else that runs there. So the middle
finality is asserted here, and the ninety-ninth percentile by `make abuse`.
"""

import asyncio
from pathlib import Path

import pytest

from tests.campaigns.abuse.__main__ import FINALITY_S, RSS_MAX_MIB
from tests.campaigns.abuse.floods import FLOODS
from tests.campaigns.abuse.measure import Bench, Cost

SECONDS = 3.5
KINDS = (
    "half_heads",
    "half_heads_and_bodies",
    "unread_answers",
    "subscribers",
    "strangers",
    "half_forms",
    "bombs",
    "slow_headers",
    "events_unread",
    "giant_bodies",
    "forged_spam",
    "half_handshakes",
    "gossip_forged",
    "member_spam",
)


@pytest.mark.slow
def test_floods_leave_finality_of_others_under_a_second_and_memory_bounded(tmp_path: Path) -> None:
    async def live() -> list[Cost]:
        async with Bench(tmp_path) as bench:
            return [await bench.cost_of(kind, SECONDS) for kind in KINDS]

    assert set(KINDS) <= set(FLOODS)
    for cost in asyncio.run(live()):
        assert cost.latencies_s and cost.median_s < FINALITY_S, str(cost)
        assert not cost.failures and not cost.ended, f"{cost} {cost.failures[:1]}"
        assert cost.asked and not cost.unanswered, f"{cost}"
        assert cost.rss_max_mib < RSS_MAX_MIB, str(cost)
