"""The stored form of the state tree: what an update returns, and that no damage to it passes."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import LedgerError
from ledger.trees.statepages import (
    PAGE_SLOTS_COUNT,
    ROOT_PATH,
    StatePageError,
    check_pages,
    page_path,
    pages_over,
    path_at,
    prove,
    top_of,
    update,
    walk,
)
from ledger.trees.statetree import (
    EMPTY,
    AbsenceProof,
    InclusionProof,
    leaf_hash,
    value_hash,
    verify_absent,
    verify_present,
)

KEYS = [hashlib.sha256(b"%d" % index).digest() for index in range(400)]
DEPTHS = range(0, 256, 3)
VALUE = b"value"
VALUE_HASH = value_hash(VALUE)


class Pages(dict[bytes, bytes]):
    """A store of pages that counts what is loaded."""

    root: bytes = EMPTY
    loads_count: int = 0

    def load_page(self, path: bytes) -> bytes | None:
        self.loads_count += 1
        return self.get(path)

    def change(self, changes: list[tuple[bytes, bytes | None]]) -> dict[bytes, bytes | None]:
        result = update(self, self.root, sorted(changes))
        for path, page in result.pages.items():
            if page is None:
                del self[path]
            else:
                self[path] = page
        self.root = result.root
        return result.pages


def stored(keys: list[bytes]) -> Pages:
    pages = Pages()
    pages.change([(key, VALUE_HASH) for key in keys])
    return pages


def entry_of(page: bytes, slot: int) -> tuple[int, int]:
    """Where the entry of a slot starts and ends."""
    start = PAGE_SLOTS_COUNT + sum(page[: slot - 1])
    return start, start + page[slot - 1]


def refusal_of(pages: Pages) -> StatePageError:
    with pytest.raises(StatePageError) as refusal:
        check_pages(pages, pages.root, list(pages))
    return refusal.value


# Paths


def test_a_path_holds_bits_and_then_counts_them() -> None:
    key = bytes.fromhex("fedcba987a" + "00" * 26 + "fe")
    assert page_path(key, 0) == ROOT_PATH == b"\x00"
    assert page_path(key, 3) == bytes.fromhex("e003")
    assert page_path(key, 6) == bytes.fromhex("fc06")
    assert page_path(key, 9) == bytes.fromhex("fe8009")
    assert page_path(key, 24) == bytes.fromhex("fedcba18")
    assert page_path(key, 255) == key + b"\xff"
    assert page_path(key[:31] + b"\xff", 255) == key + b"\xff"
    assert len({page_path(key, depth) for depth in DEPTHS}) == 86
    assert [path_at(int.from_bytes(key, "big") >> 256 - depth, depth) for depth in DEPTHS] == [
        page_path(key, depth) for depth in DEPTHS
    ]


# The pages over a level


def level_of(keys: list[bytes], depth: int) -> list[bytes]:
    """The entries of one level, as the definition has them: of no key nothing, of one its leaf, else a hash."""
    entries = []
    for place in range(2**depth):
        below = sorted(key for key in keys if int.from_bytes(key, "big") >> 256 - depth == place)
        if len(below) < 2:
            entries.append(below[0] + VALUE_HASH if below else b"")
        else:
            entries.append(top_of(stored(keys)[path_at(place, depth)]))
    return entries


@settings(deadline=None)
@given(st.sets(st.sampled_from(KEYS), max_size=40), st.sampled_from((0, 3, 6)))
def test_the_pages_over_a_level_are_those_that_an_update_makes(chosen: set[bytes], depth: int) -> None:
    pages = stored(sorted(chosen))
    expected = {path: page for path, page in pages.items() if path[-1] < depth}
    assert pages_over(level_of(sorted(chosen), depth)) == expected


@pytest.mark.parametrize("count", [2, 4, 7, 9, 16])
def test_pages_stand_over_whole_levels_only(count: int) -> None:
    with pytest.raises(AssertionError, match="whole level"):
        pages_over([b""] * count)


# Updates


def test_an_update_returns_only_the_pages_on_the_way_and_writes_none() -> None:
    pages = stored(KEYS)
    before = dict(pages)
    result = update(pages, pages.root, [(KEYS[7], value_hash(b"new"))])
    assert pages == before
    assert set(result.pages) <= {page_path(KEYS[7], depth) for depth in DEPTHS}
    assert 2 <= len(result.pages) <= 5
    assert all(page != before[path] for path, page in result.pages.items())


def test_what_changes_nothing_returns_no_pages() -> None:
    pages = stored(KEYS)
    missing = hashlib.sha256(b"missing").digest()
    for changes in ([], [(KEYS[3], VALUE_HASH)], [(missing, None)]):
        result = update(pages, pages.root, changes)
        assert (result.root, result.pages) == (pages.root, {})
    assert update(Pages(), EMPTY, [(missing, None)]).pages == {}


def test_blocks_that_are_not_final_are_overlays_and_exclude_each_other() -> None:
    class Overlay:
        def __init__(self, below: Pages, pages: dict[bytes, bytes | None]) -> None:
            self.below, self.pages = below, pages

        def load_page(self, path: bytes) -> bytes | None:
            return self.pages[path] if path in self.pages else self.below.load_page(path)

    pages = stored(KEYS[:100])
    left = update(pages, pages.root, [(KEYS[0], None)])
    right = update(pages, pages.root, [(KEYS[200], VALUE_HASH)])
    for result, keys in ((left, KEYS[1:100]), (right, [*KEYS[:100], KEYS[200]])):
        overlay = Overlay(pages, result.pages)
        assert [key for key, _ in walk(overlay, result.root)] == sorted(keys)
        assert result.root == stored(keys).root
        child = update(overlay, result.root, [(KEYS[300], VALUE_HASH)])
        assert child.root == stored([*keys, KEYS[300]]).root


def test_a_page_that_is_no_longer_needed_is_returned_as_none() -> None:
    near = [KEYS[0], KEYS[0][:-1] + bytes((KEYS[0][-1] ^ 1,))]
    pages = stored(near)
    assert len(pages) == 86
    changed = pages.change([(near[1], None)])
    assert sum(page is None for page in changed.values()) == 85
    assert list(pages) == [ROOT_PATH]
    assert pages.root == leaf_hash(near[0], VALUE_HASH)


@pytest.mark.parametrize(
    "changes",
    [
        [(KEYS[0], None), (KEYS[0], VALUE_HASH)],
        sorted([(KEYS[0], VALUE_HASH), (KEYS[1], VALUE_HASH)], reverse=True),
        [(b"short", VALUE_HASH)],
        [(KEYS[0], b"short")],
    ],
)
def test_changes_are_hashes_in_order_or_the_node_stops(changes: list[tuple[bytes, bytes | None]]) -> None:
    with pytest.raises(AssertionError):
        update(Pages(), EMPTY, changes)


def test_an_update_loads_each_page_about_once() -> None:
    pages = stored(KEYS)
    pages.loads_count = 0
    update(pages, pages.root, sorted((key, value_hash(b"new")) for key in KEYS))
    assert pages.loads_count <= len(pages) + 1


# Loading


def test_a_lost_root_page_is_not_an_empty_tree() -> None:
    pages = stored(KEYS)
    del pages[ROOT_PATH]
    for use in (
        lambda: update(pages, pages.root, [(KEYS[0], None)]),
        lambda: prove(pages, pages.root, KEYS[0]),
        lambda: list(walk(pages, pages.root)),
    ):
        with pytest.raises(
            StatePageError, match=r"state page 00: expected the top [0-9a-f]{64}, found no page"
        ):
            use()


def test_pages_under_another_root_are_refused() -> None:
    pages = stored(KEYS)
    for root in (EMPTY, bytes(32), stored(KEYS[1:]).root):
        for use in (
            lambda root=root: update(pages, root, [(KEYS[0], None)]),
            lambda root=root: prove(pages, root, KEYS[0]),
            lambda root=root: check_pages(pages, root, list(pages)),
        ):
            with pytest.raises(StatePageError, match="state page 00: expected the top"):
                use()


def test_a_lost_or_stale_page_below_is_refused_by_its_path() -> None:
    pages, key = stored(KEYS), KEYS[5]
    path = page_path(key, 3)
    stale = stored(KEYS[:200])[path]
    for use in (
        lambda: update(pages, pages.root, [(key, None)]),
        lambda: prove(pages, pages.root, key),
        lambda: check_pages(pages, pages.root, list(pages)),
    ):
        for page in (None, stale):
            kept = pages.pop(path)
            if page is not None:
                pages[path] = page
            with pytest.raises(StatePageError, match=f"state page {path.hex()}: expected the top") as refusal:
                use()
            assert refusal.value.path == path
            pages[path] = kept


# Strict decoding


@pytest.mark.slow
def test_a_page_with_bytes_after_it_or_missing_is_refused() -> None:
    pages = stored(KEYS)
    for path, page in list(pages.items()):
        for wrong in (page + b"\x00", page[:-1], page[:PAGE_SLOTS_COUNT], page[:5], b""):
            pages[path] = wrong
            assert refusal_of(pages).path == path
        pages[path] = page


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ({}, "no top"),
        ({1: 33}, "the size 33 in slot 1"),
        ({1: 32}, "fewer than two keys below slot 1"),
        ({1: 32, 2: 64}, "fewer than two keys below slot 1"),
        ({1: 32, 3: 64}, "fewer than two keys below slot 1"),
        ({1: 32, 2: 64, 3: 64, 4: 64}, "nodes below slot 2"),
        ({1: 32, 2: 32, 4: 64, 9: 32}, "fewer than two keys below slot 2"),
        ({1: 64, 2: 32}, "nodes below slot 1"),
        ({1: 32, 2: 64, 3: 64, 15: 32}, "nodes below slot 7"),
    ],
)
def test_a_shape_that_no_set_of_keys_has_is_refused(sizes: dict[int, int], problem: str) -> None:
    shape = bytes(sizes.get(slot, 0) for slot in range(1, PAGE_SLOTS_COUNT + 1))
    pages = Pages({ROOT_PATH: shape + bytes(sum(shape))})
    with pytest.raises(StatePageError, match=problem):
        prove(pages, bytes(32), KEYS[0])


@pytest.mark.parametrize("is_leaf", [True, False])
def test_nothing_stands_below_the_last_bit_of_a_key(is_leaf: bool) -> None:
    near = [KEYS[0], KEYS[0][:-1] + bytes((KEYS[0][-1] ^ 1,))]
    pages = stored(near)
    path = page_path(near[0], 255)
    top = pages[path][PAGE_SLOTS_COUNT:][:32]
    below = [32, 32, 32, *([64] * 4 if is_leaf else [32] * 12)]
    sizes = bytes(below) + bytes(PAGE_SLOTS_COUNT - len(below))
    pages[path] = sizes + top + bytes(sum(sizes) - 32)
    with pytest.raises(StatePageError, match="expected nothing below the last bit of a key, found a node"):
        prove(pages, pages.root, near[0])
    assert refusal_of(pages).path == path


def test_a_leaf_in_the_place_of_another_is_refused() -> None:
    pages = stored(KEYS)
    path = next(path for path, page in pages.items() if 64 in page[:PAGE_SLOTS_COUNT])
    page = pages[path]
    slot = page.index(64) + 1
    start, _ = entry_of(page, slot)
    for position in range(path[-1]):
        changed = bytearray(page)
        changed[start + position // 8] ^= 0x80 >> position % 8
        pages[path] = bytes(changed)
        refusal = refusal_of(pages)
        assert refusal.path == path
        assert refusal.keys == (bytes(changed[start : start + 32]),)
        assert "a key that starts with these" in refusal.expected


def test_a_page_of_one_leaf_stands_only_at_the_root() -> None:
    pages = stored(KEYS)
    lone = bytes((64,)) + bytes(PAGE_SLOTS_COUNT - 1) + KEYS[5] + VALUE_HASH
    pages[page_path(KEYS[5], 3)] = lone
    with pytest.raises(StatePageError, match="expected an inner node on top, found a leaf"):
        prove(pages, pages.root, KEYS[5])
    alone = Pages({ROOT_PATH: lone})
    alone.root = leaf_hash(KEYS[5], VALUE_HASH)
    assert check_pages(alone, alone.root, [ROOT_PATH]) == 1


# The audit


@given(st.sets(st.sampled_from(KEYS[:40]), max_size=40))
@settings(max_examples=40, deadline=None)
def test_the_walk_yields_every_key_in_order(keys: set[bytes]) -> None:
    pages = stored(sorted(keys))
    assert list(walk(pages, pages.root)) == [(key, VALUE_HASH) for key in sorted(keys)]
    assert check_pages(pages, pages.root, list(pages)) == len(keys)


@pytest.mark.slow
def test_every_flipped_bit_of_every_page_is_found() -> None:
    pages = stored(KEYS[:24])
    for path, page in list(pages.items()):
        number = int.from_bytes(page, "big")
        for position in range(8 * len(page)):
            pages[path] = (number ^ 1 << position).to_bytes(len(page), "big")
            refusal_of(pages)
        pages[path] = page
    assert check_pages(pages, pages.root, list(pages)) == 24


def test_an_altered_value_is_found_with_its_page_and_its_key_under_suspicion() -> None:
    pages = stored(KEYS)
    page_of = {
        page[start : start + 32]: path
        for path, page in pages.items()
        for slot in range(1, PAGE_SLOTS_COUNT + 1)
        for start, end in [entry_of(page, slot)]
        if end - start == 64
    }
    assert set(page_of) == set(KEYS)
    for key, path in page_of.items():
        page = pages[path]
        pages[path] = page.replace(key + VALUE_HASH, key + value_hash(b"altered"))
        refusal = refusal_of(pages)
        assert refusal.path == path
        assert key in refusal.keys
        assert key.hex() in str(refusal)
        pages[path] = page


def test_a_page_that_the_tree_does_not_need_is_found() -> None:
    pages = stored(KEYS)
    stray = page_path(KEYS[0], 39)
    pages[stray] = pages[ROOT_PATH]
    refusal = refusal_of(pages)
    assert (refusal.path, refusal.found) == (stray, "a page")
    empty = Pages({stray: b"left behind"})
    assert refusal_of(empty).path == stray


def test_a_proof_from_damaged_pages_never_verifies_or_is_the_true_one() -> None:
    pages, intact = stored(KEYS[:24]), stored(KEYS[:24])
    missing = KEYS[30]
    for path, page in list(pages.items()):
        number = int.from_bytes(page, "big")
        for position in range(0, 8 * len(page), 3):
            pages[path] = (number ^ 1 << position).to_bytes(len(page), "big")
            for key, present in ((KEYS[0], True), (missing, False)):
                try:
                    proof = prove(pages, pages.root, key)
                    if present and isinstance(proof, InclusionProof):
                        verify_present(pages.root, key, VALUE, proof)
                    elif not present and isinstance(proof, AbsenceProof):
                        verify_absent(pages.root, key, proof)
                    else:
                        continue
                except LedgerError:
                    continue
                assert proof == prove(intact, pages.root, key)
        pages[path] = page
