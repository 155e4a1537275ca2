"""A database that is looked at stays as it is, wherever it lies; and where its log is damaged, the place is named."""

import fcntl
import hashlib
import os
import random
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from node.chain.chain import Chain
from node.errors import StoreError, StoreRefused
from node.storage.database import WriteBatch
from node.storage.examining import examined, kept_still
from node.storage.leveldb import LevelDatabase
from node.storage.logdamage import find_log_damage
from node.storage.store import Store, StoreDamaged, remaining_blocks
from tests.node.storage.test_store import GENESIS, build, certify, grow

Picture = dict[str, tuple[int, int, int, int, str]]


def picture(directory: Path) -> Picture:
    """Return what a file system tells of every file, and a digest of its content."""
    found = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_nlink, digest)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A chain with a table and a log."""
    path = tmp_path / "home" / "chain"
    with closing(Store.open(path, GENESIS)) as store:
        chain = Chain(store)
        for number in range(4):
            if number == 2:
                assert isinstance(store._database, LevelDatabase)
                store._database._database.compact_range()
            chain.commit(certify(build(chain, number)))
    return tmp_path / "home"


def test_a_database_is_examined_and_no_file_of_it_changes(home: Path) -> None:
    before = picture(home)
    with examined(home / "chain") as copy:
        with closing(Store.open(copy.path, GENESIS)) as store:
            assert store.tip().header.height == 4
            assert sum(block is not None for _, block, _ in store.walk()) == 4
            assert isinstance(store._database, LevelDatabase)
            # What a merge would do to the tables, it does to links.
            store._database._database.compact_range()
        assert not copy.path.is_relative_to(home)
    assert picture(home) == before
    assert not copy.path.exists()


def test_a_folder_where_merging_is_stopped_gets_no_table_more_and_reads_all(tmp_path: Path) -> None:
    path, expected = tmp_path / "tables", {}
    # What one opening wrote is a table of the next: so many are due to be merged.
    for number in range(12):
        with closing(LevelDatabase.open(path)) as database:
            batch = WriteBatch()
            for key in (b"%d" % number, b"last"):
                expected[key] = random.Random(number).randbytes(50_000)
                batch.put(key, expected[key])
            database.write(batch, is_synced=True)
    with examined(path) as copy, closing(LevelDatabase.open(copy.path)) as database:
        copy.stop_merging()
        before = {each for each in copy.path.glob("*.ldb") if each.is_file()}
        database._database.compact_range()
        assert dict(database.iterate(b"", None)) == expected
        assert {each for each in copy.path.glob("*.ldb") if each.is_file()} <= before
        copy.stop_merging()


def test_what_cannot_be_read_is_told_with_its_place_and_cure(home: Path, tmp_path: Path) -> None:
    (home / "chain" / "LINK.ldb").symlink_to(tmp_path / "nothing")
    with examined(home / "chain"):
        pass
    for each in (home / "chain").glob("*.log"):
        each.unlink()
        each.mkdir()
    with examined(home / "chain"):
        pass
    with pytest.raises(StoreRefused, match="gone"), examined(home / "gone"):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_another_users_file_is_refused_and_is_no_finding(home: Path) -> None:
    for each in (home / "chain").glob("*.ldb"):
        each.chmod(0)
    home.parent.chmod(0o755)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        told = b"nothing"
        try:
            for directory in home.parents:
                if os.access(directory, os.W_OK) and directory != Path("/"):
                    directory.chmod(0o755)
            os.setgid(65534)
            os.setuid(65534)
            with examined(home / "chain"):
                pass
        except StoreRefused as error:
            told = f"{error.found}; {error.cure}".encode()
        finally:
            os.write(write, told)
            os._exit(0)
    os.waitpid(child, 0)
    heard = os.read(read, 4_096).decode()
    assert "Permission denied" in heard and "owns the path" in heard


def test_a_node_that_runs_is_seen_by_either_lock_and_none_is_written(home: Path) -> None:
    lock = home / "node.lock"
    with kept_still(lock, home / "chain"):
        assert not lock.exists()
    lock.touch()
    before = picture(home)
    with (
        kept_still(lock, home / "chain"),
        kept_still(lock, home / "chain"),
        lock.open("rb") as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert picture(home) == before
    with lock.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="--url"), kept_still(lock, home / "chain"):
            pass


# Where a log is damaged


def log_of(chain: Path) -> Path:
    (log,) = chain.glob("*.log")
    return log


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A database whose log fills several blocks of 32 KiB."""
    path = tmp_path / "logged"
    source = random.Random(1)
    with closing(LevelDatabase.open(path)) as database:
        for number in range(60):
            batch = WriteBatch()
            batch.put(number.to_bytes(4, "big"), source.randbytes(source.randrange(10, 9_000)))
            database.write(batch, is_synced=True)
    assert log_of(path).stat().st_size > 4 * 32 * 1024
    return path


def test_an_intact_log_has_no_damage_whatever_its_end(logged: Path) -> None:
    assert find_log_damage(logged) is None
    whole = log_of(logged).read_bytes()
    for size in range(len(whole) - 40_000, len(whole), 997):
        log_of(logged).write_bytes(whole[:size])
        assert find_log_damage(logged) is None, size


@pytest.mark.slow
def test_a_flipped_byte_is_found_where_leveldb_finds_one_and_before_it(logged: Path, tmp_path: Path) -> None:
    whole = log_of(logged).read_bytes()
    for place in range(0, len(whole) - 9_100, 4_001):
        log_of(logged).write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        found = find_log_damage(logged)
        copy = tmp_path / "copy"
        shutil.copytree(logged, copy)
        try:
            LevelDatabase.open(copy).close()
            is_refused = False
        except Exception:  # noqa: BLE001  Whatever LevelDB says of it.
            is_refused = True
        shutil.rmtree(copy)
        assert (found is not None) is is_refused, place
        if found is not None:
            assert found.file == log_of(logged).name
            assert 0 <= place - found.offset < 32 * 1024


def test_a_damaged_log_leaves_the_blocks_below_it(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    with closing(Store.open(path, GENESIS)) as store:
        grow(store, 6)
    log = log_of(path)
    content = bytearray(log.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    log.write_bytes(content)
    with pytest.raises(StoreDamaged):
        Store.open(path, GENESIS)
    assert find_log_damage(path) is not None
    with examined(path) as copy, remaining_blocks(copy.path) as walk:
        heights = [height for height, block, _ in walk if block is not None]
        assert heights[0] == 1 and heights == list(range(1, len(heights) + 1)) and len(heights) < 6
