"""What must hold in every explored state, written from the protocol's definition, not from the core.

A certificate *can exist* once a quorum may have signed: the honest validators that said the vote, and the
Byzantine one. All claims are about certificates that can exist, whether anybody put them together or not.

E1 One block of a view can be notarized. E2 A view that can be nullified cannot be finalized.
E3 Every block that can be notarized above one that can be finalized descends from it; the same for two that
can be finalized. E4 No honest validator ever says two notarizes, two finalizes, or nullify and finalize of one
view, crashes included. E5 Every certificate that an honest validator holds can exist. E6 An honest notarize
names a parent that can be notarized (or the start), and all views between can be nullified. E7 Nobody honest
is accused. E8 What can be finalized can be notarized.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.rules.certificates import FINALIZE, NOTARIZE, NULLIFY, Subject

QUORUM = 3


class Violation(AssertionError):
    """A claim does not hold."""


class Public(NamedTuple):
    """What others can learn about an honest validator, and what is judged."""

    said: frozenset[Subject]
    certificates: frozenset[Subject]
    accuses_honest: bool


def check(nodes: Sequence[Public]) -> None:
    """Check every claim. Raises Violation."""
    possible = {
        subject
        for subject in frozenset().union(*(node.said for node in nodes))
        if sum(subject in node.said for node in nodes) + 1 >= QUORUM
    }
    _check_views(possible)
    _check_branches(possible)
    for node in nodes:
        _check_promises(node.said)
        if node.accuses_honest:
            raise Violation("E7: an honest validator is accused")
        for subject in node.certificates - possible:
            raise Violation(f"E5: a certificate without quorum is held: {subject.kind} {subject.view}")
        for subject in node.said:
            if subject.kind == NOTARIZE:
                _check_ancestry(subject, possible)


def _check_views(possible: set[Subject]) -> None:
    blocks: dict[int, bytes | None] = {}
    for subject in possible:
        if subject.kind == NULLIFY:
            continue
        if blocks.setdefault(subject.view, subject.block_hash) != subject.block_hash:
            raise Violation(f"E1: two blocks of view {subject.view} have quorums")
    for subject in possible:
        if subject.kind == FINALIZE:
            if any(other.kind == NULLIFY and other.view == subject.view for other in possible):
                raise Violation(f"E2: view {subject.view} can be nullified and finalized")
            if not any(_is_notarization(other, subject.view, subject.block_hash) for other in possible):
                raise Violation(f"E8: view {subject.view} can be finalized and not notarized")


def _is_notarization(subject: Subject, view: int, block_hash: bytes | None) -> bool:
    return (subject.kind, subject.view, subject.block_hash) == (NOTARIZE, view, block_hash)


def _check_branches(possible: set[Subject]) -> None:
    parents = {subject.view: subject.parent_view for subject in possible if subject.kind != NULLIFY}
    for final in possible:
        if final.kind != FINALIZE:
            continue
        for view in parents:
            ancestor: int | None = view
            while ancestor is not None and ancestor > final.view:
                ancestor = parents.get(ancestor, 0)
            if view > final.view and ancestor != final.view:
                raise Violation(f"E3: view {view} does not descend from final view {final.view}")


def _check_promises(said: frozenset[Subject]) -> None:
    for view in {subject.view for subject in said}:
        votes = [subject for subject in said if subject.view == view]
        kinds = [subject.kind for subject in votes]
        if kinds.count(NOTARIZE) > 1:
            raise Violation(f"E4: two notarizes of view {view} by one honest validator")
        if kinds.count(FINALIZE) > 1:
            raise Violation(f"E4: two finalizes of view {view} by one honest validator")
        if NULLIFY in kinds and FINALIZE in kinds:
            raise Violation(f"E4: nullify and finalize of view {view} by one honest validator")


def _check_ancestry(subject: Subject, possible: set[Subject]) -> None:
    parent_view = subject.parent_view
    assert parent_view is not None, "a block has a parent"
    if parent_view >= subject.view:
        raise Violation(f"E6: view {subject.view} is built on view {parent_view}")
    if parent_view > 0 and not any(s.kind == NOTARIZE and s.view == parent_view for s in possible):
        raise Violation(f"E6: view {subject.view} is built on view {parent_view} without a notarization")
    nullified = {other.view for other in possible if other.kind == NULLIFY}
    for between in range(parent_view + 1, subject.view):
        if between not in nullified:
            raise Violation(f"E6: view {subject.view} skips view {between} without a nullification")
