"""Batches of up to a million: their tree in one array, and how small a proof out of one is."""

import random
from dataclasses import replace
from functools import cache
from itertools import islice, pairwise
from typing import Any, Final

import pytest

from ledger.encoding.digests import HASH_SIZE, digest
from ledger.encoding.records import pack
from ledger.errors import ProofError
from ledger.proofs import BatchPath, Proof
from ledger.rules.state import Revocation
from ledger.trees.merkle import Tree, TreePath, leaf_hash, path_siblings_count, verify_inclusion
from ledger.trust import TrustedRoot, TrustPath
from node.client.issuing.batchtree import LEAVES_MAX, BatchTree
from tests.attacks.forge import (
    BATCH,
    ISSUER,
    PINNED,
    PLAIN,
    SECOND_SEAL,
    TIP,
    Chain,
    Scene,
    Shown,
    bound_to,
    evidence_of,
    make_consent,
    make_request,
    make_scene,
    present,
)
from tests.support.asking import request_with
from tests.support.consortium import START_MS

PROOF_SIZE_GOAL: Final = 8 * 1024
STATE_RECORDS: Final = 100_000
STATE_PROOFS: Final = 5
"""Anchor, issuer, absence of a revocation, recipient, consent."""


def commitments(count: int) -> list[bytes]:
    source = random.Random(count)
    return [source.randbytes(HASH_SIZE) for _ in range(count)]


@pytest.mark.parametrize("count", [*range(1, 66), 127, 128, 129, 1000])
def test_a_batch_tree_is_the_tree_of_the_ledger_hash_for_hash(count: int) -> None:
    leaves = commitments(count)
    naive, tree = Tree(leaves), BatchTree.build(leaves, count)
    again = BatchTree(count, bytes(tree.nodes))
    assert again.root() == tree.root() == naive.root()
    for index, leaf in enumerate(leaves):
        assert again.path(index) == tree.path(index) == naive.path(index)
        verify_inclusion(leaf, tree.path(index), size=count, root=tree.root())


def test_a_batch_tree_takes_64_bytes_a_leaf_up_to_a_million() -> None:
    leaves = commitments(1_000)
    assert len(BatchTree.build(leaves, 1_000).nodes) <= 64 * 1_000 + 20 * HASH_SIZE
    # The naive tree of a million takes seconds; how many hashes it has is known.
    counts = [LEAVES_MAX]
    while counts[-1] > 1:
        counts.append((counts[-1] + 1) // 2)
    assert BatchTree(LEAVES_MAX, bytes(sum(counts) * HASH_SIZE)).size == LEAVES_MAX
    assert sum(counts) * HASH_SIZE < 64 * LEAVES_MAX + 20 * HASH_SIZE


@pytest.mark.parametrize("size", [0, -1, LEAVES_MAX + 1])
def test_a_batch_has_one_to_a_million_leaves(size: int) -> None:
    with pytest.raises(ProofError, match="1 to 1000000 leaves"):
        BatchTree.build(iter(()), size)


@pytest.mark.parametrize(("count", "size"), [(2, 3), (4, 3), (0, 1), (2, 1)])
def test_a_batch_tree_takes_exactly_as_many_commitments_as_it_was_promised(count: int, size: int) -> None:
    with pytest.raises(ProofError, match=f"{size} commitments"):
        BatchTree.build(iter(commitments(count)), size)


@pytest.mark.parametrize("change", [-HASH_SIZE, -1, 1, HASH_SIZE])
def test_stored_nodes_of_another_size_are_refused(change: int) -> None:
    nodes = bytes(BatchTree.build(commitments(5), 5).nodes)
    with pytest.raises(ProofError, match="batch tree"):
        BatchTree(5, (nodes + bytes(HASH_SIZE))[: len(nodes) + change])


@pytest.mark.parametrize("index", [-1, 5])
def test_a_leaf_that_is_not_there_has_no_path(index: int) -> None:
    with pytest.raises(ProofError, match="a leaf from 0 to 4"):
        BatchTree.build(commitments(5), 5).path(index)


# -- how large a proof out of a million is --------------------------------------------------------------------


def path_among_a_million(commitment: bytes, index: int) -> tuple[bytes, TreePath]:
    """Return a root over a million leaves and the path of one: the others' hashes are chance, as theirs are."""
    source = random.Random(index)
    siblings = [source.randbytes(HASH_SIZE) for _ in range(path_siblings_count(index, LEAVES_MAX))]
    current, position, last, left = leaf_hash(commitment), index, LEAVES_MAX - 1, iter(siblings)
    while last:
        if position & 1:
            current = digest(b"\x01" + next(left) + current)
        elif position < last:
            current = digest(b"\x01" + current + next(left))
        position, last = position >> 1, last >> 1
    return current, TreePath(index, tuple(siblings))


@cache
def scene_of_a_large_state() -> tuple[Scene, Chain, TreePath]:
    opening = make_scene().openings[0]
    root, path = path_among_a_million(opening.commitment(), 0b1010_1010_1010_1010_1010)
    others = tuple(
        Revocation(ISSUER, commitment, "superseded", 1, START_MS) for commitment in commitments(STATE_RECORDS)
    )
    consent = bound_to(make_consent(), request_with())
    scene = make_scene(anchor={"root": root, "leaf_count": LEAVES_MAX}, consent=consent, others=others)
    return scene, scene.chain(), path


def shown(height: int, *, from_epoch: int, to_epoch: int, history: bool) -> Shown:
    """Return the proof of one document among a million, on a checkpoint, under consent, presented."""
    scene, chain, batch_path = scene_of_a_large_state()
    trust = TrustedRoot(1, chain.genesis, (chain.checkpoint(PINNED),) if from_epoch == 2 else ())
    opening = scene.openings[0]
    root, _ = path_among_a_million(opening.commitment(), batch_path.index)
    placeholder: Any = None
    proof = Proof(chain.chain_id, opening, BatchPath(LEAVES_MAX, batch_path), root, placeholder, None)
    path = TrustPath(
        from_epoch, chain.handovers(from_epoch, to_epoch), chain.history(height, TIP) if history else None
    )
    proof = replace(proof, evidence=evidence_of(chain, height, proof, consent=scene.consent, path=path))
    request = make_request(trust)
    proof = replace(proof, presentation=present(proof, request, consent_id=scene.consent.consent_id))
    return Shown(chain, trust, BATCH[0], proof, request)


PATHS: Final = {
    "on a checkpoint of this epoch": {"height": TIP, "from_epoch": 2, "to_epoch": 2, "history": False},
    "one handover from the pin": {"height": SECOND_SEAL, "from_epoch": 0, "to_epoch": 1, "history": False},
    "older than the checkpoint": {"height": PLAIN, "from_epoch": 2, "to_epoch": 2, "history": True},
}


@pytest.mark.parametrize("name", PATHS)
def test_a_proof_of_one_among_a_million_with_consent_has_at_most_8_kb(name: str) -> None:
    case: Any = PATHS[name]
    found = shown(**case)
    found.verify()
    size = len(found.proof_bytes)
    # A state ten times as large adds log2(10) siblings to each of its five proofs, in the mean.
    at_a_million = size + STATE_PROOFS * HASH_SIZE * 4
    assert at_a_million <= PROOF_SIZE_GOAL, f"{size} bytes here, {at_a_million} with a million records"


def test_the_leaves_that_a_proof_carries_are_small_and_hold_no_tls_certificate() -> None:
    found = shown(**PATHS["on a checkpoint of this epoch"])  # type: ignore[arg-type]
    evidence = found.proof.evidence
    assert evidence.consent is not None
    leaves = (evidence.anchor, evidence.issuer, evidence.consent.recipient, evidence.consent.consent)
    sizes = [len(leaf.value) for leaf in leaves]
    assert sum(sizes) <= 1_200 and max(sizes) <= 400, sizes
    for leaf in leaves:
        assert b"TLS certificate of" not in leaf.value
    assert b"TLS certificate of" not in pack(found.proof)


def test_a_path_among_a_million_is_bound_at_every_level() -> None:
    leaf = commitments(1)[0]
    root, path = path_among_a_million(leaf, 524_287)
    verify_inclusion(leaf, path, size=LEAVES_MAX, root=root)
    for level, (one, other) in islice(enumerate(pairwise(path.siblings)), 19):
        swapped = list(path.siblings)
        swapped[level : level + 2] = [other, one]
        with pytest.raises(ProofError):
            verify_inclusion(leaf, TreePath(path.index, tuple(swapped)), size=LEAVES_MAX, root=root)
