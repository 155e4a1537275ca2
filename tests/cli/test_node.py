"""`luohu node status`, against a node that is served."""

import asyncio
import json

import pytest

from cli.exits import FINE, UNREACHABLE
from cli.program import run
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
    assert answer["waits_for"].endswith("the first final block")
    assert answer["version"] == release()
