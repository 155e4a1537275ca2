"""What the disk refuses, another storage version and another chain are each called what they are, and never damage."""

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from node.errors import StoreError, StoreRefused
from node.storage.database import DatabaseError, DatabaseRefused, WriteBatch
from node.storage.leveldb import LevelDatabase
from node.storage.snapshotstore import SnapshotStore
from node.storage.store import (
    SCHEMA_VERSION,
    Store,
    StoreDamaged,
    StoreOfAnotherChain,
    StoreOfAnotherVersion,
    find_tip,
)
from tests.node.storage.test_store import GENESIS, grow, other_genesis

FULL = Path("/dev/full")

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="a device that is always full is Linux's")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of three blocks, whose log is read again when it is opened."""
    path = tmp_path / "chain"
    with closing(Store.open(path, GENESIS)) as store:
        grow(store, 3)
    return path


def next_files(path: Path, tmp_path: Path) -> list[str]:
    """Return the names of the files that the next opening writes first, by opening a copy."""
    shutil.copytree(path, tmp_path / "copy")
    LevelDatabase.open(tmp_path / "copy").close()
    before = {each.name for each in path.iterdir()}
    names = sorted(each.name for each in (tmp_path / "copy").iterdir() if each.name not in before)
    return [name for name in names if not name.endswith((".log", ".old"))]


def test_a_full_disk_at_the_opening_is_called_full(path: Path, tmp_path: Path) -> None:
    names = next_files(path, tmp_path)
    assert any(name.endswith(".ldb") for name in names) and any("MANIFEST" in name for name in names)
    for name in names:
        (path / name).symlink_to(FULL)
        with pytest.raises(StoreRefused, match="No space left on device; Make room") as refused:
            Store.open(path, GENESIS)
        assert "repair" not in refused.value.cure.replace("nothing needs repair", "")
        (path / name).unlink(missing_ok=True)
    # The log is what it was: nothing was lost for having been tried.
    with closing(Store.open(path, GENESIS)) as store:
        assert store.tip().header.height == 3


def test_a_snapshot_store_on_a_full_disk_is_not_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "snapshots"
    SnapshotStore.open(path).close()
    (name, *_) = (each for each in next_files(path, tmp_path) if "MANIFEST" in each)
    (path / name).symlink_to(FULL)
    with pytest.raises(StoreRefused, match="Make room"):
        SnapshotStore.open(path)
    assert [each.name for each in tmp_path.iterdir() if "damaged" in each.name] == []


class RefusingDatabase:
    """A database whose disk refuses to be read."""

    def __init__(self, database: LevelDatabase, number: int) -> None:
        self._database = database
        self._number = number

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)

    def get(self, key: bytes) -> bytes | None:
        raise DatabaseRefused(f"IO error: 000005.ldb: {os.strerror(self._number)}", self._number)


@pytest.mark.parametrize("number", [5, 24, 13])
def test_a_read_that_the_disk_refuses_is_no_damage(path: Path, number: int) -> None:
    with closing(Store.open(path, GENESIS)) as store:
        database = store._database
        assert isinstance(database, LevelDatabase)
        store._database = RefusingDatabase(database, number)  # type: ignore[assignment]
        with pytest.raises(StoreRefused) as refused:
            store.find_header(1)
        assert not isinstance(refused.value, StoreDamaged)
        assert os.strerror(number) in refused.value.found
        store._database = database


def write(path: Path, key: bytes, value: bytes | None) -> None:
    with closing(LevelDatabase.open(path)) as database:
        batch = WriteBatch()
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
        database.write(batch, is_synced=True)


@pytest.mark.parametrize(("change", "writer"), [(-1, "an older"), (1, "a newer")])
def test_a_store_of_another_version_is_refused_with_the_order_of_an_upgrade(
    path: Path, change: int, writer: str
) -> None:
    version = int(SCHEMA_VERSION) + change
    write(path, b"Mschema", b"%d" % version)
    with pytest.raises(StoreOfAnotherVersion, match=f"{writer} release wrote") as refused:
        Store.open(path, GENESIS)
    assert not isinstance(refused.value, StoreDamaged)
    assert refused.value.version == version
    for word in ("Nothing is damaged", "one node after the other", "Never on all nodes at once"):
        assert word in refused.value.cure
    tip = find_tip(path)
    assert tip is not None and tip.header.height == 3


@pytest.mark.parametrize("schema", [None, b"", b"four", b"\xff"])
def test_a_version_that_is_none_is_damage(path: Path, schema: bytes | None) -> None:
    write(path, b"Mschema", schema)
    with pytest.raises(StoreDamaged, match="metadata"):
        Store.open(path, GENESIS)


def test_a_store_of_another_chain_is_no_damage(path: Path) -> None:
    with pytest.raises(StoreOfAnotherChain, match=r"genesis\.json is right") as refused:
        Store.open(path, other_genesis())
    assert not isinstance(refused.value, StoreDamaged)


def test_the_tip_is_found_in_whatever_is_left(path: Path, tmp_path: Path) -> None:
    (path / "CURRENT").unlink()
    with pytest.raises(StoreError):
        Store.open(path, GENESIS)
    salvaged = tmp_path / "salvaged"
    shutil.copytree(path, salvaged)
    tip = find_tip(salvaged)
    assert tip is not None and tip.header.height == 3
    for each in path.iterdir():
        each.write_bytes(b"junk")
    assert find_tip(path) is None


def test_what_remains_of_a_database_without_its_beginning_is_not_replaced_by_an_empty_one(path: Path) -> None:
    (path / "CURRENT").unlink()
    with pytest.raises(DatabaseError, match="no file CURRENT"):
        LevelDatabase.open_remains(path)
