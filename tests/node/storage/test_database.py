"""The database: an ordered map whose batches are whole and whose readers see one version."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from node.storage.database import Database, DatabaseError, DatabaseLocked, WriteBatch, prefix_end
from node.storage.leveldb import LevelDatabase, plyvel


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = LevelDatabase.open(tmp_path / "database")
    yield database
    database.close()


def write(database: Database, changes: dict[bytes, bytes | None]) -> None:
    batch = WriteBatch()
    for key, value in changes.items():
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    database.write(batch, is_synced=True)


def content(database: Database, start: bytes = b"", stop: bytes | None = None) -> list[tuple[bytes, bytes]]:
    return list(database.iterate(start, stop))


def test_what_was_written_is_read_and_what_was_deleted_is_not(database: Database) -> None:
    write(database, {b"a": b"1", b"b": b"2"})
    write(database, {b"a": None, b"c": b"3"})
    assert [database.get(key) for key in (b"a", b"b", b"c", b"d")] == [None, b"2", b"3", None]


def test_the_last_change_to_a_key_in_a_batch_stands(database: Database) -> None:
    batch = WriteBatch()
    batch.put(b"a", b"1")
    batch.delete(b"a")
    batch.delete(b"b")
    batch.put(b"b", b"2")
    database.write(batch, is_synced=False)
    assert content(database) == [(b"b", b"2")]


def test_keys_come_in_order_from_the_start_to_before_the_stop(database: Database) -> None:
    keys = [b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff", b"\xff\xff"]
    write(database, {key: key for key in reversed(keys)})
    assert [key for key, _ in content(database)] == keys
    for start, stop in itertools.combinations(keys, 2):
        assert [key for key, _ in content(database, start, stop)] == [k for k in keys if start <= k < stop]


def test_an_iteration_and_a_snapshot_read_one_version(database: Database) -> None:
    write(database, {b"a": b"1", b"b": b"2"})
    with database.read_view() as version, closing(database.iterate(b"", None)) as found:
        first = next(found)
        write(database, {b"a": b"new", b"b": None, b"c": b"3"})
        assert [first, *found] == [(b"a", b"1"), (b"b", b"2")]
        assert [version.get(key) for key in (b"a", b"b", b"c")] == [b"1", b"2", None]
    assert content(database) == [(b"a", b"new"), (b"c", b"3")]


def test_the_end_of_a_prefix_is_the_first_key_after_all_that_begin_with_it() -> None:
    alphabet = [bytes([value]) for value in (0, 1, 0xFE, 0xFF)]
    words = [b"".join(each) for size in range(4) for each in itertools.product(alphabet, repeat=size)]
    for prefix in words:
        stop = prefix_end(prefix)
        inside = [word for word in words if word >= prefix and (stop is None or word < stop)]
        assert inside == [word for word in words if word.startswith(prefix)]
    assert [prefix_end(prefix) for prefix in (b"", b"\xff", b"a\xff", b"a")] == [None, None, b"b", b"b"]


def test_a_database_is_open_once(tmp_path: Path) -> None:
    with closing(LevelDatabase.open(tmp_path / "database")), pytest.raises(DatabaseLocked):
        LevelDatabase.open(tmp_path / "database")


def test_an_error_of_leveldb_leaves_as_our_own_with_its_text(tmp_path: Path) -> None:
    path = tmp_path / "database"
    with closing(LevelDatabase.open(path)) as database:
        write(database, {b"a": b"1"})
    (path / "CURRENT").write_bytes(b"junk")
    with pytest.raises(DatabaseError, match="CURRENT"):
        LevelDatabase.open(path)
    (path / "CURRENT").unlink()
    with pytest.raises(DatabaseError, match="no file CURRENT"):
        LevelDatabase.open(path)


@pytest.mark.slow
def test_an_iteration_over_a_flipped_byte_is_an_error_and_never_a_shorter_one(tmp_path: Path) -> None:
    path = tmp_path / "database"
    database = LevelDatabase.open(path)
    expected = {number.to_bytes(4, "big"): number.to_bytes(4, "big") * 16 for number in range(400)}
    write(database, dict(expected))
    database._database.compact_range()
    database.close()
    (table,) = path.glob("*.ldb")
    intact, errors_count = table.read_bytes(), 0
    for place in range(0, len(intact) - 48, 61):
        table.write_bytes(intact[:place] + bytes([intact[place] ^ 0x40]) + intact[place + 1 :])
        try:
            again = LevelDatabase.open(path)
        except DatabaseError:
            errors_count += 1
            continue
        try:
            # What is not an error is whole: the list of filters at the end is never read.
            assert dict(content(again)) == expected
        except DatabaseError:
            errors_count += 1
        finally:
            again.close()
    assert errors_count > 10


def test_a_closed_database_is_let_go_of_and_may_be_closed_again(tmp_path: Path) -> None:
    database = LevelDatabase.open(tmp_path / "one")
    database.close()
    database.close()
    with closing(LevelDatabase.open(tmp_path / "one")):
        pass
    with pytest.raises(AssertionError, match="closed"):
        database.get(b"a")


REFUSED_WRITE = """
import gc, pathlib, resource, signal, sys
from node.storage.database import WriteBatch, DatabaseError
from node.storage.leveldb import LevelDatabase, plyvel

database = LevelDatabase.open(pathlib.Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
batch = WriteBatch()
batch.put(b"a", bytes(100_000))
kept = []
try:
    database.write(batch, is_synced=True)
except DatabaseError as error:
    kept.append(error)
database.close()
# Only the database is refused its write: what measures this process may keep what it found.
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(kept), sum(isinstance(each, plyvel.DB) for each in gc.get_objects()))
"""


def test_an_error_that_is_kept_keeps_no_database(tmp_path: Path) -> None:
    command = [sys.executable, "-c", REFUSED_WRITE, str(tmp_path / "one")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1 0\n", "")


@pytest.mark.parametrize("tables_count", [0, 8])
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="threads have priorities of their own on Linux only"
)
def test_merging_tables_yields_to_the_node(tmp_path: Path, tables_count: int) -> None:
    path = tmp_path / "chain"
    # What one opening wrote is a table of the next: with so many, opening begins to merge them.
    for number in range(tables_count):
        database = plyvel.DB(str(path), create_if_missing=True, write_buffer_size=1 << 20)
        database.put(b"%d" % number, b"value")
        database.put(b"last", b"value")
        database.close()
    program = (
        "import os, sys; from pathlib import Path; from node.storage.leveldb import LevelDatabase; "
        "LevelDatabase.open(Path(sys.argv[1])); "
        "print(sorted(os.getpriority(os.PRIO_PROCESS, int(each)) for each in os.listdir('/proc/self/task')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert done.stdout.strip() == f"{[own, 19]}"
