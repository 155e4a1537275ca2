"""The top pages: made from what is stored it is what the rules make, and its making reads little of a large state."""

import hashlib
from bisect import bisect_left
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.trees.statepages import StatePageError, check_pages, update
from ledger.trees.statetree import EMPTY, value_hash
from node.storage.store import Store
from node.storage.tables import StoreDamaged
from node.storage.toppages import (
    SKIPPED_MAX,
    TOP_PAGES_LEVELS,
    grown_top_pages,
    is_top_page,
    read_top_pages,
    stored_pages,
)
from tests.ledger.trees.test_statepages import Pages
from tests.node.storage.test_store import GENESIS, edit, grow

VALUES, PAGES = b"V", b"P"


class Records(dict[bytes, bytes]):
    """A database in memory, with tables on either side of the values, that notes what is read."""

    def __init__(self, records: dict[bytes, bytes]) -> None:
        super().__init__(records)
        self._keys = sorted(records)
        self.read: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:  # type: ignore[override]
        self.read.append(key)
        return super().get(key)

    def iterate(self, start: bytes, stop: bytes | None) -> Generator[tuple[bytes, bytes], None, None]:
        for index in range(bisect_left(self._keys, start), len(self._keys)):
            key = self._keys[index]
            if stop is not None and key >= stop:
                return
            self.read.append(key)
            yield key, self[key]


def stored(keys: Sequence[bytes]) -> tuple[Records, dict[bytes, bytes]]:
    """What is stored of a state with these keys, and all pages of its tree, as the rules make them."""
    leaves = {key: b"value of " + key for key in keys}
    pages = Pages()
    pages.change([(key, value_hash(value)) for key, value in leaves.items()])
    records = {b"O": b"before", b"U": b"between", b"W": b"after"}
    records |= {VALUES + key: value for key, value in leaves.items()}
    records |= {PAGES + path: page for path, page in pages.items() if not is_top_page(path)}
    return Records(records), dict(pages)


def top_pages_of(records: Records) -> dict[bytes, bytes]:
    return read_top_pages(records, VALUES, PAGES)  # type: ignore[arg-type]


def key(place: int, number: int) -> bytes:
    """The number-th key below a place of the top pages."""
    rest = hashlib.sha256(b"%d" % number).digest()
    return (place << 16 - TOP_PAGES_LEVELS | rest[0] & 15).to_bytes(2, "big") + rest[2:]


FEW_PLACES = st.sampled_from((0, 1, 2, 7, 8, 2_047, 2_048, 4_094, 4_095)) | st.integers(0, 4_095)
KEYS = st.sets(st.builds(key, FEW_PLACES, st.integers(0, 40)), max_size=60)


@given(KEYS)
def test_what_is_made_of_the_stored_records_is_what_an_update_makes(keys: set[bytes]) -> None:
    records, pages = stored(sorted(keys))
    assert top_pages_of(records) == {path: page for path, page in pages.items() if is_top_page(path)}


@given(KEYS, KEYS)
def test_a_top_pages_that_grew_is_the_one_that_is_made_anew(first: set[bytes], more: set[bytes]) -> None:
    records, pages = stored(sorted(first))
    before = top_pages_of(records)
    source = Pages(pages)
    source.root = update(
        Pages(), EMPTY, [(each, value_hash(b"value of " + each)) for each in sorted(first)]
    ).root
    changed = source.change([(each, value_hash(b"value of " + each)) for each in sorted(more)])
    kept = dict(before)
    after, _ = stored(sorted(first | more))
    assert grown_top_pages(before, changed) == top_pages_of(after)
    assert before == kept, "readers of the version before keep its top_pages"
    assert not any(is_top_page(path) for path in stored_pages(changed))


def test_a_place_with_many_leaves_costs_no_more_than_one_with_few() -> None:
    records, pages = stored(
        [key(place, number) for place in (5, 9) for number in range(1_000)] + [key(10, 0)]
    )
    assert top_pages_of(records) == {path: page for path, page in pages.items() if is_top_page(path)}
    assert len(records.read) <= 2 * (SKIPPED_MAX + 3) + 5


def test_where_every_place_has_a_page_no_leaf_is_read() -> None:
    records, pages = stored([key(place, number) for place in range(2**TOP_PAGES_LEVELS) for number in (0, 1)])
    assert top_pages_of(records) == {path: page for path, page in pages.items() if is_top_page(path)}
    assert not any(name.startswith(VALUES) for name in records.read)


def test_a_new_store_has_the_top_pages_of_its_genesis(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "chain", GENESIS)
    try:
        paths = [path for path, _ in store.pages()]
        assert any(is_top_page(path) for path in paths)
        assert check_pages(store, store.tip().header.state_root, paths) > 0
    finally:
        store.close()


def test_no_page_of_the_top_pages_is_written(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "chain", GENESIS)
    try:
        for executed in grow(store, 3):
            assert any(is_top_page(path) for path in executed.overlay.pages)
        assert not any(is_top_page(path) for path, _ in store._scan(PAGES))
        assert store._top_pages == read_top_pages(store._database, VALUES, PAGES)
    finally:
        store.close()


LEVEL_12 = b"\x00\x00" + bytes([TOP_PAGES_LEVELS])


@pytest.mark.parametrize(
    ("path", "page", "found"),
    [
        (LEVEL_12, b"short", "5 bytes"),
        (b"\x00\x00" + bytes([TOP_PAGES_LEVELS + 3]), b"below a lost one", "nothing"),
    ],
)
def test_a_page_that_the_top_pages_stands_on_is_named_at_the_opening_where_it_is_none(
    tmp_path: Path, path: bytes, page: bytes, found: str
) -> None:
    chain = tmp_path / "chain"
    Store.open(chain, GENESIS).close()
    edit(chain, lambda database: database.put(PAGES + path, page))
    with pytest.raises(StoreDamaged, match=f"state page {LEVEL_12.hex()}.*{found}"):
        Store.open(chain, GENESIS)


def test_a_top_pages_of_damaged_records_does_not_lead_to_the_state_root(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    store = Store.open(path, GENESIS)
    name, value = next(store._scan(VALUES))
    store.close()
    edit(path, lambda database: database.put(VALUES + name, value[:-1] + bytes([value[-1] ^ 1])))
    store = Store.open(path, GENESIS)
    try:
        with pytest.raises(StatePageError, match="state page 00"):
            check_pages(store, store.tip().header.state_root, [each for each, _ in store.pages()])
    finally:
        store.close()
