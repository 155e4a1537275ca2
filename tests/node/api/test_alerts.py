"""Each alert of the operators' page stands on a metric that exists, is silent where all is well, and fires else."""

import operator
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import pytest

from node.api.server import Api
from node.condition import DISK_FULL_SIZE, DISK_LOW_SIZE, Observations, judge
from tests.support.memory_node import MemoryNode
from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "operators.md").read_text("utf-8")
NOW_MS = 1_000_000
FOUR = ("a", "b", "c", "d")
WELL = Observations(
    member="a",
    now_ms=NOW_MS,
    validators=FOUR,
    is_validator=True,
    final_ms=NOW_MS - 1_000,
    disk_free_size=2 * DISK_LOW_SIZE,
)
OLD_MS = NOW_MS - 40_000
# What happens where each alert is to fire.
HAPPENS: dict[str, Observations] = {
    "LuohuNoFinality": replace(WELL, final_ms=OLD_MS),
    "LuohuNoQuorum": replace(
        WELL, down_since_ms={"c": OLD_MS, "d": OLD_MS}, below_quorum_since_ms=OLD_MS, final_ms=OLD_MS
    ),
    "LuohuAmnesia": replace(WELL, observes_since_ms=OLD_MS),
    "LuohuNoAnswers": replace(WELL, asks_since_ms=OLD_MS, unanswered=("b", "c")),
    "LuohuNotReady": replace(WELL, has_first_block=False),
    "LuohuKeyMisused": replace(WELL, key_misused_how="a vote", key_misused_count=1),
    "LuohuKeyOrCertificateMisused": replace(WELL, key_misused_how="peers drop it"),
    "LuohuMisbehaviour": replace(WELL, misbehaviour_count=1),
    "LuohuKeyMissing": replace(
        WELL, is_validator=False, lacks="its key", lack_cure="Put it back.", lacks_key=True
    ),
    "LuohuChainMissing": replace(WELL, is_validator=False, lacks="blocks", lack_cure="Wait."),
    "LuohuRulesUnknown": replace(WELL, unknown_protocol=2, protocol_height=900),
    "LuohuClocksDisagree": replace(WELL, clock_offsets_ms={"b": -9_000}),
    "LuohuLargePacketsLost": replace(WELL, swallowing=("b",)),
    "LuohuSyncStalled": replace(WELL, stalled_ms=40_000),
    "LuohuDiskLow": replace(WELL, disk_free_size=DISK_LOW_SIZE - 1),
    "LuohuDiskFull": replace(WELL, disk_free_size=DISK_FULL_SIZE - 1),
}
COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
EXPRESSION = re.compile(r"(?P<name>\w+)(\{code=\"(?P<code>[\w-]+)\"\})? (?P<compare>==|>|<) (?P<bound>\d+)")


class Alert(NamedTuple):
    """A rule of the page."""

    name: str
    expression: re.Match[str]


def alerts_of(page: str) -> list[Alert]:
    """Return the alerts that a page gives."""
    found = []
    for line in page.partition("### Alerts")[2].partition("### Metrics")[0].splitlines():
        rule = re.fullmatch(r" +- \{alert: (\w+), expr: '?([^',]+)'?(, for: \d+[smh])?\}", line)
        if rule is not None:
            expression = EXPRESSION.fullmatch(rule[2])
            assert expression is not None, line
            found.append(Alert(rule[1], expression))
    return found


def fires(alert: Alert, seen: Observations) -> bool:
    """Say whether an alert's expression holds for a node that sees this."""
    node = MemoryNode(observed=seen)
    Api(node)
    labels = {} if alert.expression["code"] is None else {"code": alert.expression["code"]}
    value = node.registry.get_sample_value(alert.expression["name"], labels)
    assert value is not None, f"{alert.name}: no such metric"
    return COMPARE[alert.expression["compare"]](value, float(alert.expression["bound"]))


def test_the_page_has_exactly_the_alerts_whose_situations_are_here() -> None:
    listed = PAGE.partition("### Alerts")[2].partition("### Metrics")[0].count("{alert:")
    assert [alert.name for alert in alerts_of(PAGE)] == list(HAPPENS)
    assert listed == len(HAPPENS)


@pytest.mark.parametrize("alert", alerts_of(PAGE), ids=lambda alert: alert.name)
def test_an_alert_is_silent_where_all_is_well_and_fires_where_it_is_to(alert: Alert) -> None:
    assert judge(WELL).troubles == ()
    assert not fires(alert, WELL)
    assert fires(alert, HAPPENS[alert.name])


def test_an_alert_on_a_metric_that_does_not_exist_would_be_noticed() -> None:
    page = "### Alerts\n      - {alert: A, expr: luohu_nothing > 0}\n### Metrics"
    with pytest.raises(AssertionError, match="no such metric"):
        fires(alerts_of(page)[0], WELL)
