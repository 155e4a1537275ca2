"""The state tree: the definition, the published roots, and each rule of a proof obeyed and broken."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import ParamSpec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding.records import pack, unpack
from ledger.errors import EncodingError, LedgerError, ProofError
from ledger.trees.statepages import Update, prove, update
from ledger.trees.statetree import (
    DEPTH_MAX,
    EMPTY,
    AbsenceProof,
    InclusionProof,
    OtherLeaf,
    inner_hash,
    leaf_hash,
    shared_bits_count,
    state_key,
    value_hash,
    verify_absent,
    verify_present,
)

# docs/formats.md: keys SHA-256("key0"), ..., value hashes SHA-256("val0"), ..., for 0 to 4 keys.
PUBLISHED_ROOTS = [
    "36a9e7f1c95b82ffb99743e0c5c4ce95d83c9a430aac59f84ef3cbfab6145068",
    "7a37c828b99375d008b2ad65c414180be8075a292f7cb07b5c8b7e7cf03af437",
    "cf78b482ef7a2cc46ce5a27796b133abaf6c608c48500941642b20a30c18534d",
    "8b5e161b781022871356652570c74c59122386e040b3e2c743f76bdcae10ebd2",
    "2072364abe38351c94028b41230f62627c2dd3b2578becb82591f3d190602372",
]

P = ParamSpec("P")
BASE = bytes.fromhex("5a" * 32)
CLUSTER_BITS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 20, 130, 251, 252, 254, 255)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def bit(key: bytes, depth: int) -> int:
    return key[depth // 8] >> (7 - depth % 8) & 1


def with_bits(*depths: int, base: bytes = BASE) -> bytes:
    """`base` with the bits at these depths flipped."""
    number = int.from_bytes(base, "big")
    for depth in depths:
        number ^= 1 << (255 - depth)
    return number.to_bytes(32, "big")


# The definition: a pure function of the contents, with hash calls of its own.


def naive_root(contents: dict[bytes, bytes], depth: int = 0) -> bytes:
    if not contents:
        return sha(b"\x20")
    if len(contents) == 1:
        [(key, value)] = contents.items()
        return sha(b"\x21" + key + sha(b"\x23" + value))
    left = {key: value for key, value in contents.items() if not bit(key, depth)}
    right = {key: value for key, value in contents.items() if bit(key, depth)}
    return sha(b"\x22" + naive_root(left, depth + 1) + naive_root(right, depth + 1))


def naive_siblings(contents: dict[bytes, bytes], key: bytes, depth: int = 0) -> list[bytes]:
    """The siblings on the way to `key`, from the top down."""
    if len(contents) < 2:
        return []
    near = {other: value for other, value in contents.items() if bit(other, depth) == bit(key, depth)}
    far = {other: value for other, value in contents.items() if bit(other, depth) != bit(key, depth)}
    return [naive_root(far, depth + 1), *naive_siblings(near, key, depth + 1)]


class Pages(dict[bytes, bytes]):
    """A store of pages and the root they lead to."""

    root: bytes = EMPTY

    def load_page(self, path: bytes) -> bytes | None:
        return self.get(path)

    def change(self, changes: dict[bytes, bytes | None]) -> Update:
        hashed = [
            (key, None if value is None else value_hash(value)) for key, value in sorted(changes.items())
        ]
        result = update(self, self.root, hashed)
        for path, page in result.pages.items():
            assert page != self.get(path), "a page that did not change was returned"
            if page is None:
                del self[path]
            else:
                self[path] = page
        self.root = result.root
        return result


def stored(contents: dict[bytes, bytes]) -> Pages:
    pages = Pages()
    pages.change(dict(contents))
    return pages


def included(pages: Pages, key: bytes) -> InclusionProof:
    proof = prove(pages, pages.root, key)
    assert isinstance(proof, InclusionProof)
    return proof


def absent(pages: Pages, key: bytes) -> AbsenceProof:
    proof = prove(pages, pages.root, key)
    assert isinstance(proof, AbsenceProof)
    return proof


def refused(verify: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
    with pytest.raises(ProofError):
        verify(*arguments, **named)


def flipped(data: bytes) -> Iterable[bytes]:
    number = int.from_bytes(data, "big")
    return ((number ^ 1 << position).to_bytes(len(data), "big") for position in range(8 * len(data)))


cluster_keys = st.one_of(
    st.sampled_from([BASE, *(with_bits(depth) for depth in CLUSTER_BITS)]),
    st.builds(with_bits, st.sampled_from(CLUSTER_BITS), st.sampled_from(CLUSTER_BITS)),
    st.sampled_from([sha(b"%d" % number) for number in range(12)]),
)
values = st.binary(max_size=3)
batches = st.lists(st.dictionaries(cluster_keys, st.none() | values, max_size=12), max_size=6)


# The model


@pytest.mark.parametrize("count", range(5))
def test_the_published_roots_come_out(count: int) -> None:
    leaves = sorted((sha(b"key%d" % index), sha(b"val%d" % index)) for index in range(count))
    assert update(Pages(), EMPTY, leaves).root.hex() == PUBLISHED_ROOTS[count]


@pytest.mark.slow
@given(batches)
@settings(max_examples=120, deadline=None)
def test_any_history_leads_to_the_root_of_its_contents_alone(
    history: list[dict[bytes, bytes | None]],
) -> None:
    pages, contents = Pages(), dict[bytes, bytes]()
    for changes in history:
        pages.change(changes)
        contents |= {key: value for key, value in changes.items() if value is not None}
        contents = {key: value for key, value in contents.items() if changes.get(key, value) is not None}
        assert pages.root == naive_root(contents)
    # Not only the root: the stored pages too are a pure function of the contents.
    assert pages == stored(contents)


@pytest.mark.slow
@given(st.dictionaries(cluster_keys, values, max_size=14), st.lists(cluster_keys, max_size=8))
@settings(max_examples=120, deadline=None)
def test_every_key_is_proven_present_or_absent_and_never_both(
    contents: dict[bytes, bytes], others: list[bytes]
) -> None:
    pages = stored(contents)
    for key in {*contents, *others}:
        proof = prove(pages, pages.root, key)
        siblings = naive_siblings(contents, key)
        assert proof.depth == len(siblings)
        assert list(proof.siblings) == [sibling for sibling in reversed(siblings) if sibling != EMPTY]
        if isinstance(proof, InclusionProof):
            value = contents[key]
            verify_present(pages.root, key, value, proof)
            refused(verify_present, pages.root, key, value + b"!", proof)
            shape = proof.depth, proof.bitmap, proof.siblings
            refused(verify_absent, pages.root, key, AbsenceProof(*shape, None))
            refused(verify_absent, pages.root, key, AbsenceProof(*shape, OtherLeaf(key, value_hash(value))))
        else:
            assert key not in contents
            verify_absent(pages.root, key, proof)
            shape = proof.depth, proof.bitmap, proof.siblings
            refused(verify_present, pages.root, key, b"", InclusionProof(*shape))


@given(st.dictionaries(cluster_keys, values, min_size=1, max_size=14), st.data())
@settings(max_examples=80, deadline=None)
def test_a_proof_for_one_key_never_serves_another(contents: dict[bytes, bytes], data: st.DataObject) -> None:
    pages = stored(contents)
    key, other = data.draw(st.sampled_from(sorted(contents))), data.draw(cluster_keys)
    if key == other:
        return
    proof = included(pages, key)
    refused(verify_present, pages.root, other, contents[key], proof)
    refused(verify_absent, pages.root, key, AbsenceProof(proof.depth, proof.bitmap, proof.siblings, None))
    if other not in contents:
        absence = absent(pages, other)
        refused(verify_absent, pages.root, key, absence)


@given(st.permutations(range(9)), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_the_order_of_insertion_leaves_no_trace(order: list[int], batch_size: int) -> None:
    keys = [with_bits(*CLUSTER_BITS[index : index + 2]) for index in range(9)]
    pages = Pages()
    for first in range(0, 9, batch_size):
        pages.change({keys[index]: b"%d" % index for index in order[first : first + batch_size]})
    assert pages == stored({key: b"%d" % index for index, key in enumerate(keys)})


def test_deleting_everything_leaves_nothing() -> None:
    contents = {with_bits(depth): b"" for depth in CLUSTER_BITS}
    pages = stored(contents)
    assert pages
    result = pages.change(dict.fromkeys(contents))
    assert (result.root, dict(pages)) == (EMPTY, {})


def test_a_deleted_key_is_absent_and_its_neighbour_moves_up() -> None:
    low, high = with_bits(), with_bits(255)
    pages = stored({low: b"low", high: b"high"})
    proof, root = included(pages, high), pages.root
    assert proof.depth == DEPTH_MAX
    pages.change({high: None})
    assert pages.root == leaf_hash(low, value_hash(b"low"))
    refused(verify_present, pages.root, high, b"high", proof)
    verify_absent(pages.root, high, absent(pages, high))
    verify_present(root, high, b"high", proof)


def test_a_value_of_no_bytes_is_present() -> None:
    pages = stored({BASE: b""})
    verify_present(pages.root, BASE, b"", included(pages, BASE))


def test_in_the_empty_tree_every_key_is_absent_and_none_present() -> None:
    proof = absent(Pages(), BASE)
    assert proof == AbsenceProof(0, b"", (), None)
    verify_absent(EMPTY, BASE, proof)
    refused(verify_present, EMPTY, BASE, b"", InclusionProof(0, b"", ()))


# Tags


def test_keys_values_leaves_inner_nodes_and_nothing_are_hashed_apart() -> None:
    assert sha(b"\x20") == EMPTY
    assert value_hash(b"v") == sha(b"\x23v")
    assert state_key(b"k") == sha(b"\x24k")
    assert leaf_hash(bytes(32), EMPTY) == sha(b"\x21" + bytes(32) + EMPTY)
    assert inner_hash(bytes(32), EMPTY) == sha(b"\x22" + bytes(32) + EMPTY)


def test_an_inner_node_is_not_proven_as_a_leaf() -> None:
    left, right = with_bits(0), with_bits()
    contents = {left: b"left", right: b"right"} if not bit(left, 0) else {right: b"left", left: b"right"}
    pages = stored(contents)
    low, high = (leaf_hash(key, value_hash(value)) for key, value in sorted(contents.items()))
    assert pages.root == inner_hash(low, high)
    refused(verify_absent, pages.root, BASE, AbsenceProof(0, b"", (), OtherLeaf(low, high)))


# ledger/trees/statetree.py, rule 1


def test_a_bitmap_has_exactly_the_bits_of_the_depth() -> None:
    pages = stored({with_bits(): b"a", with_bits(8): b"b", with_bits(0): b"c"})
    proof = included(pages, with_bits())
    assert (proof.depth, proof.bitmap) == (9, b"\x80\x80")
    for bitmap in (b"\x80", b"\x80\x80\x00", b""):
        with pytest.raises(ProofError, match="2 bytes for depth 9"):
            replace(proof, bitmap=bitmap)


@pytest.mark.parametrize("padding_bit", range(7))
def test_a_bitmap_is_padded_with_zeros(padding_bit: int) -> None:
    pages = stored({with_bits(): b"a", with_bits(8): b"b"})
    proof = included(pages, with_bits())
    bitmap = bytes((proof.bitmap[0], proof.bitmap[1] | 1 << padding_bit))
    for siblings in (proof.siblings, (*proof.siblings, sha(b""))):
        with pytest.raises(ProofError, match="7 zero bits at the end"):
            replace(proof, bitmap=bitmap, siblings=siblings)


def test_there_is_one_sibling_for_each_bit() -> None:
    pages = stored({with_bits(): b"a", with_bits(8): b"b"})
    present, missing = included(pages, with_bits()), absent(pages, with_bits(3))
    for proof in (present, missing):
        for siblings in ((), (*proof.siblings, sha(b"")), proof.siblings * 2):
            with pytest.raises(ProofError, match="one for each bit"):
                replace(proof, siblings=siblings)


def test_a_sibling_is_a_hash_and_never_the_empty_one() -> None:
    first, second = with_bits(), with_bits(1)
    pages = stored({first: b"a", second: b"b"})
    proof = included(pages, first)
    assert (proof.depth, proof.bitmap) == (2, b"\x40")
    # The same root, spelled with the sibling that the bitmap leaves out.
    with pytest.raises(ProofError, match=r"siblings\[1\]: expected a sibling that is not empty"):
        InclusionProof(2, b"\xc0", (*proof.siblings, EMPTY))
    for size in (0, 31, 33):
        with pytest.raises(ProofError, match=f"expected 32 bytes, found {size} bytes"):
            InclusionProof(2, b"\x40", (bytes(size),))
        with pytest.raises(ProofError, match=rf"siblings\[1\]: expected 32 bytes, found {size} bytes"):
            InclusionProof(2, b"\xc0", (sha(b"a sibling"), bytes(size)))


def test_a_proof_is_at_most_256_deep() -> None:
    pages = stored({with_bits(): b"a", with_bits(255): b"b"})
    proof = included(pages, with_bits())
    assert proof.depth == DEPTH_MAX
    verify_present(pages.root, with_bits(), b"a", unpack(InclusionProof, pack(proof)))
    for depth in (DEPTH_MAX + 1, -1):
        with pytest.raises(ProofError, match="depth: expected 0 to 256"):
            replace(proof, depth=depth, bitmap=bytes(33))
    full = (sha(b"sibling"),) * DEPTH_MAX
    InclusionProof(DEPTH_MAX, b"\xff" * 32, full)
    with pytest.raises(ProofError, match="depth: expected 0 to 256"):
        InclusionProof(DEPTH_MAX + 1, b"\xff" * 32 + b"\x80", (*full, sha(b"sibling")))


def test_a_proof_has_one_encoding_and_no_bytes_after_it() -> None:
    pages = stored({with_bits(depth): b"" for depth in CLUSTER_BITS})
    for key in (with_bits(4), with_bits(6)):
        proof = prove(pages, pages.root, key)
        encoded = pack(proof)
        assert unpack(type(proof), encoded) == proof
        assert pack(unpack(type(proof), encoded)) == encoded
        with pytest.raises(EncodingError):
            unpack(type(proof), encoded + b"\x00")
    with pytest.raises(EncodingError):
        unpack(AbsenceProof, pack(included(pages, with_bits(4))))


# ledger/trees/statetree.py, rules 2 and 6


def test_a_flipped_bit_of_key_value_root_or_proof_is_refused() -> None:
    contents = {with_bits(*depths): b"value" for depths in ((), (2,), (3,), (9,), (2, 5))}
    pages = stored(contents)
    key = with_bits(2)
    proof = included(pages, key)
    verify_present(pages.root, key, b"value", proof)
    for wrong in flipped(key):
        refused(verify_present, pages.root, wrong, b"value", proof)
    for wrong in flipped(b"value"):
        refused(verify_present, pages.root, key, wrong, proof)
    for wrong in flipped(pages.root):
        refused(verify_present, wrong, key, b"value", proof)
    for wrong in flipped(pack(proof)):
        with pytest.raises(LedgerError):
            verify_present(pages.root, key, b"value", unpack(InclusionProof, wrong))
    for missing in (with_bits(2, 7), with_bits(0, 1)):
        absence = absent(pages, missing)
        verify_absent(pages.root, missing, absence)
        for wrong in flipped(pack(absence)):
            with pytest.raises(LedgerError):
                verify_absent(pages.root, missing, unpack(AbsenceProof, wrong))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_and_a_root_have_32_bytes(size: int) -> None:
    refused(verify_present, EMPTY, bytes(size), b"", InclusionProof(0, b"", ()))
    refused(verify_absent, EMPTY, bytes(size), AbsenceProof(0, b"", (), None))
    refused(verify_absent, bytes(size), BASE, AbsenceProof(0, b"", (), None))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_refusal_of_another_size_names_what_has_it(size: int) -> None:
    presence, absence = InclusionProof(0, b"", ()), AbsenceProof(0, b"", (), None)
    wrong = bytes(size)
    beside_short_key = replace(absence, other=OtherLeaf(wrong, EMPTY))
    beside_short_value = replace(absence, other=OtherLeaf(with_bits(1), wrong))
    calls: dict[str, Callable[[], None]] = {
        "state key": lambda: verify_present(EMPTY, wrong, b"", presence),
        "state root": lambda: verify_absent(wrong, BASE, absence),
        "absence.other.key": lambda: verify_absent(EMPTY, BASE, beside_short_key),
        "absence.other.value_hash": lambda: verify_absent(EMPTY, BASE, beside_short_value),
    }
    for where, call in calls.items():
        with pytest.raises(ProofError, match=f"^{where}: expected 32 bytes, found {size} bytes"):
            call()
    with pytest.raises(ProofError, match=r"^state key: expected 32 bytes"):
        verify_absent(EMPTY, wrong, absence)


# ledger/trees/statetree.py, rules 3 and 4


def test_absence_at_an_empty_place_needs_an_empty_place() -> None:
    # Two keys that share bit 0 leave the other side of the root empty.
    first, second = with_bits(), with_bits(1)
    pages = stored({first: b"a", second: b"b"})
    missing = with_bits(0)
    proof = absent(pages, missing)
    assert (proof.depth, proof.other) == (1, None)
    verify_absent(pages.root, missing, proof)
    for claimed in (first, second, with_bits(2)):
        refused(verify_absent, pages.root, claimed, proof)


def test_absence_beside_another_leaf_needs_that_leaf_where_the_key_would_be() -> None:
    contents = {with_bits(): b"a", with_bits(4): b"b", with_bits(0): b"c"}
    pages = stored(contents)
    missing = with_bits(9)
    proof = absent(pages, missing)
    assert proof.other == OtherLeaf(with_bits(), value_hash(b"a"))
    assert proof.depth == 5
    verify_absent(pages.root, missing, proof)
    # A leaf that shares exactly the bits above it, and one that shares one less.
    verify_absent(pages.root, with_bits(5), proof)
    with pytest.raises(ProofError, match=r"first 5 bits of the absent one, found 4 bits"):
        verify_absent(pages.root, with_bits(4, 9), proof)


def test_a_leaf_from_elsewhere_does_not_make_a_present_key_absent() -> None:
    contents = {with_bits(): b"a", with_bits(4): b"b", with_bits(0): b"c"}
    pages = stored(contents)
    for key, value in contents.items():
        own = included(pages, key)
        shape = own.depth, own.bitmap, own.siblings
        verify_present(pages.root, key, value, own)
        for other_key, other_value in contents.items():
            other = OtherLeaf(other_key, value_hash(other_value))
            refused(verify_absent, pages.root, key, AbsenceProof(*shape, other))
            theirs = included(pages, other_key)
            forged = AbsenceProof(theirs.depth, theirs.bitmap, theirs.siblings, other)
            refused(verify_absent, pages.root, key, forged)
    with pytest.raises(ProofError, match="a leaf of another key"):
        verify_absent(pages.root, key, AbsenceProof(*shape, OtherLeaf(key, value_hash(value))))


def test_the_other_leaf_holds_two_hashes() -> None:
    for other in (OtherLeaf(b"short", bytes(32)), OtherLeaf(bytes(32), b"short")):
        refused(verify_absent, EMPTY, BASE, AbsenceProof(0, b"", (), other))


def test_keys_share_their_leading_bits() -> None:
    assert shared_bits_count(BASE, BASE) == 256
    for depth in range(256):
        assert shared_bits_count(BASE, with_bits(depth)) == depth
        assert shared_bits_count(with_bits(depth), with_bits(depth, 255)) == 255


# ledger/trees/statetree.py, rule 5


def test_a_lone_leaf_below_an_inner_node_is_refused_although_it_hashes_to_the_root() -> None:
    key = with_bits(0) if bit(BASE, 0) else BASE
    malformed = inner_hash(leaf_hash(key, value_hash(b"a")), EMPTY)
    for proof in (
        lambda: InclusionProof(1, b"\x00", ()),
        lambda: AbsenceProof(1, b"\x00", (), OtherLeaf(key, value_hash(b"a"))),
        lambda: AbsenceProof(1, b"\x00", (), None),
    ):
        with pytest.raises(ProofError, match="a lowest sibling that is not empty"):
            proof()
    refused(verify_present, malformed, key, b"a", InclusionProof(0, b"", ()))


def test_only_the_lowest_sibling_has_to_be_there() -> None:
    pages = stored({with_bits(): b"a", with_bits(12): b"b"})
    proof = included(pages, with_bits())
    assert (proof.depth, proof.bitmap, len(proof.siblings)) == (13, b"\x00\x08", 1)
    verify_present(pages.root, with_bits(), b"a", proof)
