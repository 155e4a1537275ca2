"""A world of nodes that falls behind and catches up: growing it, waiting for it, and judging what it holds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ledger.trees.statepages import check_pages
from tests.support.node_world import START_MS, World, WorldNode, anchor_transaction


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: what is tested here is not the disk's speed."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=shared, prefix="luohu-") as directory:
        yield Path(directory)


def grow(world: World, count: int, *, first: int = 0) -> None:
    """Make about as many blocks final on those who are up."""
    node = world.nodes["sz-operator"]
    height = node.store.tip().header.height + count
    number = first
    while node.store.tip().header.height < height:
        node.submit(anchor_transaction(world.genesis, 1_000 * height + number, START_MS + world.now_ms))
        number += 1
        world.run(120)


def run_until(world: World, is_done: Callable[[], bool], *, milliseconds: int = 60_000) -> None:
    """Let time pass until something holds."""
    for _ in range(milliseconds // 100):
        if is_done():
            return
        world.run(100)
    raise AssertionError("not in time")


def is_level(world: World) -> bool:
    """Tell whether all nodes have the same tip."""
    tips = {node.store.tip().encoded_header.hash for node in world.nodes.values()}
    return len(tips) == 1


def check_whole(node: WorldNode) -> None:
    """Check that a node's state is the state of its tip, page by page."""
    root = node.store.tip().header.state_root
    check_pages(node.store, root, [path for path, _ in node.store.pages()])
