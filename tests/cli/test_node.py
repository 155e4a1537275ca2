"""`luohu node status`, against a node that is served."""

import asyncio
import json
from dataclasses import replace

import pytest

from cli.exits import FINE, UNREACHABLE
from cli.program import run
from node.condition import Observations, judge
from node.version import release
from tests.support.memory_node import MemoryNode, serve


def ask(node: MemoryNode, *options: str) -> int:
    """Return the exit code of the command that asks this node."""

    async def whole() -> int:
        async with serve(node) as url:
            return await asyncio.to_thread(run, ["node", "status", "--url", url, *options])

    return asyncio.run(asyncio.wait_for(whole(), 20))


def test_the_status_says_which_release_the_node_runs(capsys: pytest.CaptureFixture[str]) -> None:
    node = MemoryNode()
    assert ask(node) == FINE
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["version", release()] in rows
    assert ask(node, "--json") == FINE
    assert json.loads(capsys.readouterr().out)["version"] == release()


def test_a_node_that_is_not_ready_is_exit_code_3_and_shows_its_status_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ask(MemoryNode(waits_for="the first final block"), "--json") == UNREACHABLE
    answer = json.loads(capsys.readouterr().out)
    assert "the first final block" in answer["waits_for"]
    assert answer["version"] == release()


NOW_MS = 1_000_000
UNWELL = Observations(
    member="hk-operator",
    now_ms=NOW_MS,
    validators=("hk-bureau", "hk-operator", "mainland-bank", "sz-operator"),
    is_validator=True,
    down_since_ms={"mainland-bank": NOW_MS - 286_000, "sz-operator": NOW_MS - 285_000},
    below_quorum_since_ms=NOW_MS - 285_000,
    final_ms=NOW_MS - 286_000,
    known_height=142,
    clock_offsets_ms={"hk-bureau": -7_200_000},
    disk_free_size=5 * 2**20,
    swallowing=("hk-bureau",),
)


def test_a_node_that_is_not_well_says_what_is_wrong_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    node = MemoryNode(observed=UNWELL)
    assert ask(node) == UNREACHABLE
    printed = capsys.readouterr().out
    for part in (
        "is not ready: waits for a quorum: connected 2 of 4 validators, needs 3; missing mainland-bank for 4 min 46 s",
        "not connected: mainland-bank, sz-operator",
        "block 142 is final",
        "hk-bureau -7200.0 s",
        "5 MiB free",
        "no-quorum since",
        "clocks-disagree since",
        "large-packets-lost since",
        "tcp_mtu_probing=1",
    ):
        assert part in printed, part
    assert ask(node, "--json") == UNREACHABLE
    condition = json.loads(capsys.readouterr().out)["condition"]
    assert condition["state"] == "no-quorum"
    assert [each["code"] for each in condition["troubles"]] == [each.code for each in judge(UNWELL).troubles]
    assert (condition["quorum"], condition["known_height"]) == (3, 142)
    assert condition["clock_offsets"] == [{"member": "hk-bureau", "offset_ms": -7_200_000}]


def test_what_only_an_operator_must_see_leaves_the_exit_code_at_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        ask(
            MemoryNode(
                observed=replace(UNWELL, down_since_ms={}, below_quorum_since_ms=None, final_ms=NOW_MS)
            )
        )
        == FINE
    )
    printed = capsys.readouterr().out
    assert "is ready" in printed and "clocks-disagree since" in printed


def test_a_node_of_a_release_that_tells_no_condition_is_asked_whether_it_is_ready(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.api.queries._condition_json", lambda _status: None)
    assert ask(MemoryNode()) == FINE
    capsys.readouterr()
    assert ask(MemoryNode(waits_for="the first final block"), "--json") == UNREACHABLE
    answer = json.loads(capsys.readouterr().out)
    assert "the first final block" in answer["waits_for"] and answer["condition"] is None


def test_a_validator_that_follows_says_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    lack = "it lacks the validator key of epoch 0. Put its file back"
    assert ask(MemoryNode(lack=lack)) == FINE
    assert f"no: {lack}" in capsys.readouterr().out
    assert ask(MemoryNode(lack=lack), "--json") == FINE
    answer = json.loads(capsys.readouterr().out)
    assert (answer["is_voting"], answer["lack"]) == (False, lack)
    assert ask(MemoryNode(), "--json") == FINE
    assert json.loads(capsys.readouterr().out)["lack"] is None
