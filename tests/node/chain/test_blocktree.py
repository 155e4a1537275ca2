"""Candidate blocks are bounded, in all and for each view; what a quorum asks for is not kept out by its view."""

from dataclasses import replace

import pytest

from ledger.rules.blocks import EncodedHeader
from node.chain import blocktree
from node.chain.blocktree import CANDIDATES_PER_VIEW_MAX, BlockTree
from tests.support.memory_node import MemoryNode


def headers(count: int, *, view: int) -> list[EncodedHeader]:
    """Return different headers of one view."""
    header = MemoryNode().ledger.tip.header
    return [
        EncodedHeader.encode(replace(header, view=view, time_ms=header.time_ms + each))
        for each in range(count)
    ]


def test_a_view_has_few_candidates_but_for_one_that_is_wanted() -> None:
    tree = BlockTree(MemoryNode().ledger.tip)
    *kept, one_more = headers(CANDIDATES_PER_VIEW_MAX + 1, view=1)
    assert all(tree.add(header, ()) is not None for header in kept)
    assert tree.add(one_more, ()) is None and tree.add(kept[0], ()) is not None
    assert tree.add(one_more, (), is_wanted=True) is not None


def test_candidates_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocktree, "CANDIDATES_MAX", 3)
    tree = BlockTree(MemoryNode().ledger.tip)
    added = [tree.add(headers(1, view=view)[0], (), is_wanted=True) for view in range(1, 5)]
    assert [candidate is not None for candidate in added] == [True, True, True, False]
