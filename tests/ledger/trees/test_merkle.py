"""RFC 9162 trees: the public vectors, the naive definition, and every forgery a path could try."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding.records import pack, unpack
from ledger.errors import LedgerError, ProofError
from ledger.trees.merkle import (
    CHUNK_SIZE,
    SIBLINGS_MAX,
    TREE_SIZE_MAX,
    Frontier,
    Node,
    Tree,
    TreePath,
    consistency_path,
    consistency_path_from_nodes,
    content_root,
    inclusion_path,
    inclusion_path_from_nodes,
    leaf_hash,
    path_siblings_count,
    tree_root,
    verify_consistency,
    verify_hash_inclusion,
    verify_inclusion,
)
from tests.support.sources import ROOT

VECTORS = ROOT.parent / "shared" / "vectors"
LEAVES = [b"leaf %d" % index for index in range(70)]
SIZES = [*range(1, 34), 63, 64, 65, 70]


# The definitions of RFC 9162 section 2.1, word for word.


def naive_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = naive_split(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = naive_split(len(leaves))
    if index < split:
        return [*naive_path(index, leaves[:split]), naive_root(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive_root(leaves[:split])]


def naive_consistency(old_size: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    if old_size == len(leaves):
        return [] if whole else [naive_root(leaves)]
    split = naive_split(len(leaves))
    if old_size <= split:
        return [*naive_consistency(old_size, leaves[:split], whole=whole), naive_root(leaves[split:])]
    return [*naive_consistency(old_size - split, leaves[split:], whole=False), naive_root(leaves[:split])]


def naive_split(count: int) -> int:
    split = 1
    while split * 2 < count:
        split *= 2
    return split


def read_vectors(name: str) -> list[dict[str, object]]:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"the public vectors are not beside the project ({path.name} in ../shared/vectors)")
    vectors: list[dict[str, object]] = json.loads(path.read_text())
    assert vectors
    return vectors


def octets(text: object) -> bytes:
    return base64.b64decode(str(text)) if text else b""


def is_accepted(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except LedgerError:
        return False
    return True


def grown(leaves: Sequence[bytes]) -> tuple[Frontier, dict[tuple[int, int], bytes]]:
    frontier, stored = Frontier(), {}
    for leaf in leaves:
        frontier, completed = frontier.append(leaf)
        for node in completed:
            assert (node.level, node.index) not in stored
            stored[node.level, node.index] = node.hash
    return frontier, stored


def flipped(data: bytes) -> list[bytes]:
    """`data` with each single bit flipped."""
    number = int.from_bytes(data, "big")
    return [(number ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


# Agreement


def test_inclusion_agrees_with_the_public_vectors() -> None:
    for vector in read_vectors("rfc9162_inclusion.json"):

        def verify(vector: dict[str, object] = vector) -> None:
            siblings = tuple(octets(item) for item in vector["proof"] or ())  # type: ignore[attr-defined]
            verify_hash_inclusion(
                octets(vector["leafHash"]),
                TreePath(int(str(vector["leafIdx"])), siblings),
                size=int(str(vector["treeSize"])),
                root=octets(vector["root"]),
            )

        assert is_accepted(verify) != vector["wantErr"], vector["file"]


def test_consistency_agrees_with_the_public_vectors() -> None:
    for vector in read_vectors("rfc9162_consistency.json"):

        def verify(vector: dict[str, object] = vector) -> None:
            verify_consistency(
                tuple(octets(item) for item in vector["proof"] or ()),  # type: ignore[attr-defined]
                old_size=int(str(vector["size1"])),
                old_root=octets(vector["root1"]),
                size=int(str(vector["size2"])),
                root=octets(vector["root2"]),
            )

        assert is_accepted(verify) != vector["wantErr"], vector["file"]


@pytest.mark.parametrize("size", [0, *SIZES])
def test_every_way_to_a_root_agrees_with_the_definition(size: int) -> None:
    leaves = LEAVES[:size]
    expected = naive_root(leaves)
    assert Tree(leaves).root() == expected
    assert tree_root(iter(leaves)) == expected
    assert grown(leaves)[0].root() == expected


@pytest.mark.parametrize("size", SIZES)
def test_every_way_to_a_path_agrees_with_the_definition_and_verifies(size: int) -> None:
    leaves, root = LEAVES[:size], naive_root(LEAVES[:size])
    tree, (_, stored) = Tree(leaves), grown(leaves)
    for index in range(size):
        path = tree.path(index)
        assert path == TreePath(index, tuple(naive_path(index, leaves)))
        assert path == inclusion_path_from_nodes(index, size, lambda level, at: stored[level, at])
        assert len(path.siblings) == path_siblings_count(index, size)
        verify_inclusion(leaves[index], path, size=size, root=root)
    assert inclusion_path(leaves, size - 1) == tree.path(size - 1)


@pytest.mark.parametrize("size", SIZES)
def test_every_consistency_path_agrees_with_the_definition_and_verifies(size: int) -> None:
    leaves, (_, stored) = LEAVES[:size], grown(LEAVES[:size])
    for old_size in range(1, size + 1):
        path = consistency_path(leaves, old_size)
        assert list(path) == naive_consistency(old_size, leaves)
        assert path == consistency_path_from_nodes(old_size, size, lambda level, at: stored[level, at])
        verify_consistency(
            path,
            old_size=old_size,
            old_root=naive_root(leaves[:old_size]),
            size=size,
            root=naive_root(leaves),
        )


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=300), st.data())
@settings(max_examples=60, deadline=None)
def test_any_leaf_of_any_tree_is_proven_there_and_nowhere_else(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.integers(0, len(leaves) - 1))
    tree = Tree(leaves)
    assert tree.root() == naive_root(leaves)
    path = tree.path(index)
    verify_inclusion(leaves[index], path, size=len(leaves), root=tree.root())
    moved = replace(path, index=other)
    accepted = is_accepted(lambda: verify_inclusion(leaves[index], moved, size=len(leaves), root=tree.root()))
    assert accepted == (leaves[index] == leaves[other] and path.siblings == tree.path(other).siblings)


def test_old_nodes_serve_paths_in_later_trees_with_few_loads() -> None:
    size = 100_003
    asked = []

    def load(level: int, index: int) -> bytes:
        assert (index + 1) << level <= size, "a node that is not complete was asked for"
        asked.append((level, index))
        return bytes(32)

    for index in (0, 1, 65_535, 65_536, size - 1):
        asked.clear()
        path = inclusion_path_from_nodes(index, size, load)
        assert len(path.siblings) == path_siblings_count(index, size)
        assert len(asked) <= 2 * size.bit_length()


# Refusals


def test_a_flipped_bit_anywhere_is_refused() -> None:
    leaves = LEAVES[:5]
    root, path = tree_root(leaves), inclusion_path(leaves, 2)
    verify_inclusion(leaves[2], path, size=5, root=root)
    for leaf in flipped(leaves[2]):
        with pytest.raises(ProofError):
            verify_inclusion(leaf, path, size=5, root=root)
    for other_root in flipped(root):
        with pytest.raises(ProofError):
            verify_inclusion(leaves[2], path, size=5, root=other_root)
    for encoded in flipped(pack(path)):
        with pytest.raises(LedgerError):
            verify_inclusion(leaves[2], unpack(TreePath, encoded), size=5, root=root)


def test_a_path_with_a_sibling_too_many_or_too_few_is_refused() -> None:
    leaves = LEAVES[:6]
    root, path = tree_root(leaves), inclusion_path(leaves, 4)
    for siblings in (path.siblings[:-1], path.siblings[1:], (*path.siblings, bytes(32)), ()):
        with pytest.raises(ProofError, match=r"expected 2 siblings for leaf 4 of 6, found \d"):
            verify_inclusion(leaves[4], replace(path, siblings=siblings), size=6, root=root)


def test_a_path_is_refused_in_a_tree_of_another_size() -> None:
    leaves = LEAVES[:6]
    root, path = tree_root(leaves), inclusion_path(leaves, 1)
    verify_inclusion(leaves[1], path, size=6, root=root)
    for size in (2, 3, 4, 9, 2**40):
        with pytest.raises(ProofError, match="siblings for leaf 1 of"):
            verify_inclusion(leaves[1], path, size=size, root=root)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (4, 3), (-1, 3)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="the index of one of"):
        verify_inclusion(b"", TreePath(index, ()), size=size, root=tree_root([]))
    with pytest.raises(ProofError, match="the index of one of"):
        Tree(LEAVES[:size]).path(index)


def test_siblings_are_hashes() -> None:
    for size in (0, 31, 33):
        with pytest.raises(ProofError, match=rf"tree path\[1\]: expected 32 bytes, found {size} bytes"):
            TreePath(0, (bytes(32), bytes(size)))
    with pytest.raises(ProofError, match="leaf hash"):
        verify_hash_inclusion(b"short", TreePath(0, (bytes(32),)), size=2, root=bytes(32))


def test_an_inner_node_is_not_proven_as_a_leaf() -> None:
    leaves = LEAVES[:4]
    root = tree_root(leaves)
    left, right = tree_root(leaves[:2]), tree_root(leaves[2:])
    for leaf in (left + right, b"\x01" + left + right):
        with pytest.raises(ProofError):
            verify_inclusion(leaf, TreePath(0, ()), size=1, root=root)
    with pytest.raises(ProofError):
        verify_inclusion(
            leaf_hash(leaves[0]) + leaf_hash(leaves[1]), TreePath(0, (right,)), size=2, root=root
        )


def test_doubling_the_last_leaf_changes_the_root() -> None:
    for size in range(1, 12):
        leaves = LEAVES[:size]
        assert tree_root(leaves) != tree_root([*leaves, leaves[-1]])


def test_consistency_with_an_empty_or_larger_old_tree_is_refused() -> None:
    root = tree_root(LEAVES[:3])
    for old_size, size in ((0, 3), (0, 0), (4, 3), (-1, 3), (3, TREE_SIZE_MAX + 1)):
        with pytest.raises(ProofError, match="sizes with 1 <= old <= new"):
            verify_consistency((), old_size=old_size, old_root=tree_root([]), size=size, root=root)
    with pytest.raises(ProofError, match="sizes with 1 <= old <= new"):
        consistency_path(LEAVES[:3], 0)


@pytest.mark.parametrize(("old_size", "size"), [(3, 3), (4, 7), (6, 7), (1, 8), (5, 8)])
def test_a_rewritten_history_is_refused(old_size: int, size: int) -> None:
    leaves = LEAVES[:size]
    path, old_root, root = consistency_path(leaves, old_size), tree_root(leaves[:old_size]), tree_root(leaves)
    verify_consistency(path, old_size=old_size, old_root=old_root, size=size, root=root)
    rewritten = [b"rewritten", *leaves[1:]]
    with pytest.raises(ProofError):
        verify_consistency(path, old_size=old_size, old_root=old_root, size=size, root=tree_root(rewritten))
    with pytest.raises(ProofError):
        verify_consistency(
            path, old_size=old_size, old_root=tree_root(rewritten[:old_size]), size=size, root=root
        )
    with pytest.raises(ProofError, match=f"nodes from {old_size} to {size}"):
        verify_consistency((*path, bytes(32)), old_size=old_size, old_root=old_root, size=size, root=root)
    for index, node in enumerate(path):
        for wrong in flipped(node):
            changed = (*path[:index], wrong, *path[index + 1 :])
            with pytest.raises(ProofError):
                verify_consistency(changed, old_size=old_size, old_root=old_root, size=size, root=root)


# The frontier


def test_an_append_names_exactly_the_subtrees_it_completes() -> None:
    frontier, completed = grown(LEAVES[:3])[0].append(LEAVES[3])
    assert [(node.level, node.index) for node in completed] == [(0, 3), (1, 1), (2, 0)]
    assert completed[-1] == Node(2, 0, tree_root(LEAVES[:4]))
    assert frontier.peaks == (tree_root(LEAVES[:4]),)


def test_a_frontier_survives_its_encoding_and_goes_on() -> None:
    frontier, _ = grown(LEAVES[:21])
    restored = unpack(Frontier, pack(frontier))
    assert restored == frontier
    assert restored.append(LEAVES[21])[0].root() == tree_root(LEAVES[:22])


def test_a_frontier_has_one_peak_for_each_complete_subtree() -> None:
    frontier, _ = grown(LEAVES[:5])
    for peaks in ((), frontier.peaks[:1], (*frontier.peaks, bytes(32))):
        with pytest.raises(ProofError, match="2 subtree roots for 5 leaves"):
            Frontier(5, peaks)
    with pytest.raises(ProofError, match="32 bytes"):
        Frontier(1, (b"short",))


def test_a_tree_grows_to_its_maximum_and_not_past_it() -> None:
    nearly = Frontier(TREE_SIZE_MAX - 1, (bytes(32),) * (SIBLINGS_MAX - 1))
    full, _ = nearly.append(b"last")
    assert (full.size, len(full.peaks)) == (TREE_SIZE_MAX, SIBLINGS_MAX)
    with pytest.raises(ProofError, match=f"at most {TREE_SIZE_MAX} leaves"):
        full.append(b"one more")


def test_a_path_of_the_largest_tree_verifies_and_of_a_larger_one_is_refused() -> None:
    path = TreePath(0, (bytes(32),) * SIBLINGS_MAX)
    root = leaf_hash(b"first")
    for sibling in path.siblings:
        root = hashlib.sha256(b"\x01" + root + sibling).digest()
    verify_inclusion(b"first", path, size=TREE_SIZE_MAX, root=root)
    with pytest.raises(ProofError, match=f"at most {TREE_SIZE_MAX} leaves"):
        verify_inclusion(b"first", path, size=TREE_SIZE_MAX + 1, root=root)
    with pytest.raises(ProofError, match=f"at most {SIBLINGS_MAX} hashes"):
        TreePath(0, (bytes(32),) * (SIBLINGS_MAX + 1))


# Documents


def test_an_empty_document_is_one_empty_chunk() -> None:
    assert content_root([]) == content_root([b"", b""]) == (0, tree_root([b""]))
    assert tree_root([b""]) != tree_root([])


@pytest.mark.parametrize(
    "size", [1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, 3 * CHUNK_SIZE + 5]
)
def test_a_document_is_cut_into_chunks_however_it_is_read(size: int) -> None:
    document = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    expected = size, naive_root([document[at : at + CHUNK_SIZE] for at in range(0, size, CHUNK_SIZE)])
    for piece_size in (size, CHUNK_SIZE, 65_536, 700_001):
        pieces = (document[at : at + piece_size] for at in range(0, size, piece_size))
        assert content_root(pieces) == expected


def test_cutting_a_document_elsewhere_changes_its_root() -> None:
    assert content_root([b"a" * CHUNK_SIZE + b"b"])[1] != tree_root([b"a" * CHUNK_SIZE + b"b"])
    assert content_root([b"ab"]) != content_root([b"ab\x00"])


@pytest.mark.parametrize("size", range(34))
def test_a_frontier_names_its_subtrees_with_their_places(size: int) -> None:
    tree, frontier = Tree(LEAVES[:size]), Frontier()
    for leaf in LEAVES[:size]:
        frontier, _ = frontier.append(leaf)
    nodes = frontier.nodes()
    assert [node.hash for node in nodes] == [tree.node(node.level, node.index) for node in nodes]
    assert [
        leaf for node in nodes for leaf in range(node.index << node.level, (node.index + 1) << node.level)
    ] == [*range(size)]


def test_later_leaves_find_their_paths_with_a_frontiers_subtrees() -> None:
    frontier = Frontier()
    for leaf in LEAVES[:21]:
        frontier, _ = frontier.append(leaf)
    nodes = {(node.level, node.index): node.hash for node in frontier.nodes()}
    for leaf in LEAVES[21:29]:
        frontier, completed = frontier.append(leaf)
        nodes |= {(node.level, node.index): node.hash for node in completed}
    for index in range(21, 29):
        path = inclusion_path_from_nodes(index, 29, lambda level, place: nodes[level, place])
        verify_inclusion(LEAVES[index], path, size=29, root=frontier.root())


@pytest.mark.parametrize("index", [-1, 5, 6])
def test_there_is_no_path_of_a_leaf_that_the_tree_does_not_have(index: int) -> None:
    tree = Tree(LEAVES[:5])
    found: tuple[Callable[[], object], ...] = (
        lambda: tree.path(index),
        lambda: inclusion_path(LEAVES[:5], index),
        lambda: inclusion_path_from_nodes(index, 5, tree.node),
    )
    for find_path in found:
        with pytest.raises(ProofError, match="the index of one of 5 leaves"):
            find_path()


def test_a_consistency_path_holds_hashes_of_32_bytes_and_a_refusal_says_so() -> None:
    old_root, root = tree_root(LEAVES[:3]), tree_root(LEAVES[:7])
    first, *others = consistency_path(LEAVES[:7], 3)
    for wrong in (first[:31], first + b"\0", b""):
        with pytest.raises(ProofError, match=r"^consistency path\[0\]: expected 32 bytes"):
            verify_consistency((wrong, *others), old_size=3, old_root=old_root, size=7, root=root)


def test_consistency_is_between_sizes_from_one_to_the_largest() -> None:
    root = leaf_hash(b"leaf")
    for size in (1, TREE_SIZE_MAX):
        verify_consistency((), old_size=size, old_root=root, size=size, root=root)
    for old_size, size in ((0, 0), (0, 1), (2, 1), (TREE_SIZE_MAX + 1, TREE_SIZE_MAX + 1)):
        with pytest.raises(ProofError, match="sizes with 1 <= old <= new"):
            verify_consistency((), old_size=old_size, old_root=root, size=size, root=root)
