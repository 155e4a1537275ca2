"""An audit reads and never writes, says how far it reaches, and calls nothing a finding that is the mount's."""

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from cli.exits import FINE, INTERRUPTED, NO, UNREACHABLE, USAGE
from cli.program import run
from ledger.genesis import Genesis
from ledger.trust import TRUST_VERSION, Checkpoint, TrustedRoot, trusted_root_to_json
from node.home.home import GENESIS_FILE, format_genesis
from node.storage.database import DatabaseRefused, WriteBatch
from node.storage.leveldb import LevelDatabase
from node.storage.store import SCHEMA_VERSION, Store
from tests.node.storage.test_examining import log_of, picture
from tests.support.catching_up import grow
from tests.support.endings import CAN_TELL, end_in_between
from tests.support.mounting import find_mounter, run_mounted
from tests.support.node_world import VALIDATORS, World

MEMBER = "hk-operator"


@dataclass(frozen=True)
class Stopped:
    """A stopped node's home, an older copy of it, and what an auditor has."""

    home: Path
    older: Path
    genesis_path: Path
    genesis: Genesis


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    directory = tmp_path_factory.mktemp("grown")
    world = World(directory / "world")
    (directory / "world").mkdir()
    for member in VALIDATORS:
        world.start(member)
    world.run(1_000)
    for name, count in (("older", 4), ("home", 8)):
        grow(world, count, first=1_000 * count)
        world.run(500)
        world.kill(MEMBER)
        shutil.copytree(directory / "world" / MEMBER, directory / name / "data")
        world.start(MEMBER)
        world.run(500)
    world.close()
    genesis_path = directory / GENESIS_FILE
    genesis_path.write_bytes(format_genesis(world.genesis))
    return Stopped(directory / "home", directory / "older", genesis_path, world.genesis)


@pytest.fixture
def stopped(grown: Stopped, tmp_path: Path) -> Stopped:
    """That home, for a test to harm."""
    for name in ("home", "older"):
        shutil.copytree(getattr(grown, name), tmp_path / name)
    return replace(grown, home=tmp_path / "home", older=tmp_path / "older")


@pytest.fixture
def audit(stopped: Stopped, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run an audit; return its exit code and its answer."""

    def run_audit(home: Path, *options: str) -> tuple[int, dict[str, Any]]:
        known = () if "--trust" in options else ("--genesis", str(stopped.genesis_path))
        code = run(["audit", "--home", str(home), *known, *options, "--json"])
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, answer

    return run_audit


Audit = Callable[..., tuple[int, dict[str, Any]]]


def test_no_file_of_the_home_changes_clean_or_not(stopped: Stopped, audit: Audit) -> None:
    before = picture(stopped.home)
    code, answer = audit(stopped.home)
    assert (code, answer["findings"]) == (FINE, [])
    assert picture(stopped.home) == before
    flip(log_of(stopped.home / "data" / "chain"), 0.7)
    before = picture(stopped.home)
    assert audit(stopped.home)[0] == NO
    assert picture(stopped.home) == before


@pytest.mark.slow
@pytest.mark.skipif(find_mounter() is None, reason="no namespace to mount in")
def test_a_read_only_mount_is_audited_as_it_is(stopped: Stopped) -> None:
    command = (sys.executable, "-m", "cli.main", "audit", "--home", str(stopped.home), "--json")
    script = f"""
        mount --bind {stopped.home} {stopped.home}
        mount -o remount,bind,ro {stopped.home}
        if touch {stopped.home}/written 2>/dev/null; then exit 9; fi
    """
    before = picture(stopped.home)
    done = run_mounted(script, (*command, "--genesis", stopped.genesis_path))
    assert (done.returncode, done.stderr) == (FINE, "")
    assert json.loads(done.stdout)["verdict"] == "clean"
    assert picture(stopped.home) == before


def test_what_the_mount_refuses_is_no_finding(
    stopped: Stopped, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: BinaryIO, _target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), source.name)

    with monkeypatch.context() as patch:
        patch.setattr("node.storage.examining.copy_file", refuse)
        code, answer = audit(stopped.home)
    assert code == USAGE
    assert "Input/output error" in answer["error"]["found"] and "disk first" in answer["error"]["cure"]

    def iterate(_self: LevelDatabase, _start: bytes, _stop: bytes | None) -> Any:  # noqa: ANN401
        raise DatabaseRefused(f"IO error: 000005.ldb: {os.strerror(errno.EIO)}", errno.EIO)

    with monkeypatch.context() as patch:
        patch.setattr(LevelDatabase, "iterate", iterate)
        code, answer = audit(stopped.home)
    assert code == USAGE and "findings" not in answer


# How far it reaches


def test_a_chain_of_which_nothing_is_known_says_that_it_cannot_say(
    stopped: Stopped, audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = audit(stopped.older)
    assert (code, answer["required_height"]) == (FINE, None)
    assert run(["audit", "--home", str(stopped.older), "--genesis", str(stopped.genesis_path)]) == FINE
    shown = capsys.readouterr().out
    assert f"complete up to block {answer['height']}; whether there is more, this home cannot say" in shown


def cut_off(home: Path) -> None:
    """Remove the log: LevelDB opens what is in the tables, without a word."""
    log_of(home / "data" / "chain").unlink()


def test_an_old_or_shortened_chain_is_a_finding_where_more_is_known(stopped: Stopped, audit: Audit) -> None:
    height = audit(stopped.home)[1]["height"]
    assert audit(stopped.home, "--at-least", f"{height}")[0] == FINE
    cut_off(stopped.home)
    for home in (stopped.older, stopped.home):
        code, answer = audit(home, "--at-least", f"{height}")
        assert code == NO
        (finding,) = answer["findings"]
        assert finding["height"] == answer["height"] + 1 <= height
        assert f"block {height}" in finding["expected"] and finding["cure"]


def write_root(stopped: Stopped, directory: Path, height: int, block_hash: bytes) -> str:
    content = stopped.genesis.content
    checkpoint = Checkpoint(height, block_hash, 0, content.validators, 0, 2**53 - 1)
    root = TrustedRoot(TRUST_VERSION, stopped.genesis, (checkpoint,))
    path = directory / "trust.json"
    path.write_text(json.dumps(trusted_root_to_json(root)))
    return str(path)


def test_the_chain_must_hold_the_blocks_that_a_trusted_root_pins(
    stopped: Stopped, audit: Audit, tmp_path: Path
) -> None:
    with closing(Store.open(stopped.home / "data" / "chain", stopped.genesis)) as store:
        tip = store.tip()
        lower = store.find_header(2)
    assert lower is not None
    newest = write_root(stopped, tmp_path, tip.header.height, tip.encoded_header.hash)
    code, answer = audit(stopped.home, "--trust", newest)
    assert (code, answer["required_height"]) == (FINE, tip.header.height)
    code, answer = audit(stopped.older, "--trust", newest)
    assert code == NO and answer["findings"][0]["record"] == "block"
    assert audit(stopped.older, "--trust", write_root(stopped, tmp_path, 2, lower.hash))[0] == FINE
    code, answer = audit(stopped.older, "--trust", write_root(stopped, tmp_path, 2, bytes(32)))
    assert code == NO
    (finding,) = answer["findings"]
    assert (finding["height"], finding["record"]) == (2, "checkpoint")
    assert "00000000" in finding["expected"] and finding["found"] == lower.hash.hex()


def test_an_audit_wants_something_to_check_against(stopped: Stopped, tmp_path: Path) -> None:
    home = ("audit", "--home", str(stopped.home))
    assert run([*home]) == USAGE
    assert run([*home, "--genesis", str(stopped.genesis_path), "--at-least", "-1"]) == USAGE
    other = tmp_path / "other.json"
    content = replace(stopped.genesis.content, network="other")
    root = TrustedRoot(TRUST_VERSION, replace(stopped.genesis, content=content), ())
    other.write_text(json.dumps(trusted_root_to_json(root)))
    assert run([*home, "--genesis", str(stopped.genesis_path), "--trust", str(other)]) == USAGE


# What is damaged


def flip(path: Path, where: float) -> int:
    content = bytearray(path.read_bytes())
    place = int(len(content) * where)
    content[place] ^= 0x10
    path.write_bytes(content)
    return place


@pytest.mark.parametrize("where", [0.2, 0.5, 0.8])
def test_a_flipped_byte_in_the_log_names_block_file_and_cure(
    stopped: Stopped, audit: Audit, where: float
) -> None:
    log = log_of(stopped.home / "data" / "chain")
    place = flip(log, where)
    code, answer = audit(stopped.home)
    assert code == NO
    (finding,) = answer["findings"]
    assert finding["height"] == answer["height"] + 1
    assert str(log) in finding["record"]
    offset = int(finding["record"].partition("byte ")[2].partition(" of")[0])
    assert 0 <= place - offset < 32 * 1024
    assert "luohu node repair" in finding["cure"] and "audit another node" in finding["cure"]


def test_a_flipped_byte_in_a_table_names_a_block_and_what_cannot_be_read(
    stopped: Stopped, audit: Audit
) -> None:
    chain = stopped.home / "data" / "chain"
    with closing(LevelDatabase.open(chain)) as database:
        database._database.compact_range()
    table = max(chain.glob("*.ldb"), key=lambda path: path.stat().st_size)
    flip(table, 0.5)
    code, answer = audit(stopped.home)
    assert code == NO
    finding = answer["findings"][0]
    assert finding["height"] > 0 and finding["cure"] and "checksum" in finding["found"]
    assert "examined" not in json.dumps(answer), "the home's names are shown, not those of what was opened"


def write_record(home: Path, key: bytes, value: bytes) -> None:
    with closing(LevelDatabase.open(home / "data" / "chain")) as database:
        batch = WriteBatch()
        batch.put(key, value)
        database.write(batch, is_synced=True)


def test_a_home_that_a_snapshot_filled_says_so(stopped: Stopped, audit: Audit) -> None:
    write_record(stopped.home, b"Mgap", (3).to_bytes(8, "big") + (6).to_bytes(8, "big"))
    code, answer = audit(stopped.home)
    assert code == NO
    (finding,) = answer["findings"]
    assert (finding["height"], finding["found"]) == (3, "none from 3 to 5")
    assert "snapshot" in finding["cure"]


def test_another_storage_version_is_no_finding(stopped: Stopped, audit: Audit) -> None:
    write_record(stopped.home, b"Mschema", b"%d" % (int(SCHEMA_VERSION) + 1))
    code, answer = audit(stopped.home)
    assert code == USAGE
    assert "Nothing is damaged" in answer["error"]["cure"] and "repair" not in answer["error"]["cure"]


# How it ends


@pytest.mark.slow
@pytest.mark.skipif(not CAN_TELL, reason="only Linux gives a process what is orphaned below it")
@pytest.mark.parametrize("of_group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_audit_that_is_ended_leaves_no_process_and_no_file(
    stopped: Stopped, tmp_path: Path, number: signal.Signals, of_group: bool
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    before = picture(stopped.home)
    named = ("--home", stopped.home, "--genesis", stopped.genesis_path)
    for later_s in (0.0, 0.1):
        ended = end_in_between(
            [sys.executable, "-m", "cli.main", "audit", *named],
            number,
            begun=folder,
            pattern=".examined-*",
            later_s=later_s,
            of_group=of_group,
            environment={"TMPDIR": str(folder)},
        )
        assert ended.survivors == [] and [*folder.iterdir()] == []
        assert ended.code == (-number if number == signal.SIGKILL else INTERRUPTED) or not ended.was_running
    assert picture(stopped.home) == before


def test_a_worker_that_was_killed_is_no_fault_of_the_chain(
    stopped: Stopped, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: object) -> bool:
        raise BrokenProcessPool("a worker has ended")

    monkeypatch.setattr("ledger.audit.Audit.replay_all", killed)
    code, answer = audit(stopped.home)
    assert (code, answer["error"]["code"]) == (UNREACHABLE, "interrupted")
