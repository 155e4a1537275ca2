"""The issuer's register as commands use it: missed where it is lost, moved once, waited for, and never blocked."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import registers
from cli.exits import FINE, NO, UNREACHABLE, USAGE
from cli.program import run
from ledger.rules.blocks import Block
from node.client.issuing import place
from node.client.issuing import register as registering
from node.client.issuing.place import register_of_home
from node.client.issuing.register import REGISTER, Register, State, take_lock
from node.files.durablefile import PosixFiles
from tests.cli.test_issuing_commands import Counter, counter
from tests.node.client.test_issuing import HOLDER, ISSUER, operations_of
from tests.support.consortium import CHAIN_ID, NOTICE
from tests.support.memory_node import MemoryNode

__all__ = ["counter"]

DAY = 86_400_000


def error_of(counter: Counter) -> dict[str, Any]:
    error: dict[str, Any] = counter.answer()["error"]
    return error


def states(counter: Counter) -> list[State]:
    with Register.open(register_of_home(counter.folder), chain_id=CHAIN_ID, issuer=ISSUER) as register:
        return [each.state for each in reversed(register.newest(100)) if each.state is not State.DROPPED]


def lose(counter: Counter) -> Path:
    path = register_of_home(counter.folder)
    shutil.rmtree(path.parent)
    return path


# -- refused, and the rest ------------------------------------------------------------------------------------


def test_an_expiry_that_is_past_is_refused_and_the_next_call_is_as_if_it_had_not_been(
    counter: Counter,
) -> None:
    first, second = counter.file("a.pdf"), counter.file("b.pdf")
    assert counter.anchor(first, "--holder", HOLDER, "--expires", "2020-01-01") == USAGE
    error = error_of(counter)
    assert error["code"] == "expired" and error["where"] == f"{first}"
    assert states(counter) == []
    assert counter.anchor(second, "--holder", HOLDER) == FINE
    counter.verify(second)


def test_a_row_whose_expiry_is_past_is_named_before_anything_is_anchored(counter: Counter) -> None:
    for name in ("a.pdf", "b.pdf"):
        counter.file(name)
    manifest = counter.folder / "today.csv"
    manifest.write_text(f"a.pdf,{HOLDER},\nb.pdf,{HOLDER},2020-01-01\n")
    assert counter.anchor("--manifest", manifest) == USAGE
    assert error_of(counter)["where"].endswith("b.pdf") and operations_of(counter.node) == []


def test_an_expiry_that_passes_in_an_outage_is_named_and_the_other_is_delivered(counter: Counter) -> None:
    files = [counter.file("a.pdf"), counter.file("b.pdf")]
    manifest = counter.folder / "today.csv"
    manifest.write_text(f"a.pdf,{HOLDER},2027-02-01\nb.pdf,{HOLDER},\n")
    counter.node.is_holding = True
    assert counter.anchor("--manifest", manifest) == UNREACHABLE
    counter.node.is_holding = False
    counter.output()
    counter.node.clock.now_ms += 60 * DAY
    # The row itself is refused now; what waits for the others goes on without it.
    assert counter.anchor(files[1], "--holder", HOLDER) == NO
    answer = counter.answer()
    assert [(each["file"], each["code"]) for each in answer["refused"]] == [(f"{files[0]}.proof", "expired")]
    counter.verify(files[1])
    assert states(counter) == [State.REFUSED, State.DELIVERED] and answer["waiting_count"] == 0


def test_a_document_that_nobody_can_prove_is_refused_and_the_next_call_succeeds(counter: Counter) -> None:
    assert counter.anchor(counter.file("a.pdf")) == NO
    answer = counter.answer()
    assert [each["code"] for each in answer["refused"]] == ["no-holder"] and answer["proofs"] == []
    good = counter.file("b.pdf")
    assert counter.anchor(good, "--holder", HOLDER) == FINE
    counter.verify(good)


def test_a_single_document_leaves_another_s_batch_where_it_is_and_says_so(
    counter: Counter, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [counter.file(f"{n}.pdf") for n in range(5)]
    counter.node.is_holding = True
    assert counter.anchor(*files, "--holder", HOLDER) == UNREACHABLE
    counter.node.is_holding = False
    counter.output()
    mine = counter.file("mine.pdf")
    assert counter.anchor(mine, "--holder", HOLDER) == FINE
    printed = capsys.readouterr()
    assert json.loads(printed.out)["waiting_count"] == 5 and "5 documents" in printed.err
    counter.verify(mine)
    assert not any(Path(f"{file}.proof").exists() for file in files)
    assert counter.anchor(*files, "--holder", HOLDER) == FINE
    assert len([counter.verify(file) for file in files]) == 5
    assert operations_of(counter.node) == ["anchor", "anchor"], "each once"


# -- the same content -----------------------------------------------------------------------------------------


def test_the_same_content_for_the_same_holder_is_told_before_a_second_anchor(counter: Counter) -> None:
    first = counter.file("a.pdf")
    assert counter.anchor(first, "--holder", HOLDER) == FINE
    counter.output()
    Path(f"{first}.proof").rename(counter.folder / "renamed.proof")
    other = counter.folder / "copy.txt"
    other.write_bytes(first.read_bytes())
    for file in (first, other):
        assert counter.anchor(file, "--holder", HOLDER) == USAGE
        error = error_of(counter)
        assert error["code"] == "already-issued" and "luohu issued proof" in error["cure"]
    assert operations_of(counter.node) == ["anchor"]
    assert counter.anchor(other, "--holder", HOLDER, "--again") == FINE
    counter.output()
    assert counter.revoke("--proof", f"{other}.proof", "--reason", "error") == FINE
    (standing,) = counter.answer()["standing"]
    assert standing["proof"] == f"{first}.proof"
    assert counter.revoke("--proof", counter.folder / "renamed.proof", "--reason", "error") == FINE
    assert counter.answer()["standing"] == []
    assert counter.anchor(first, "--holder", HOLDER) == FINE, "what is revoked may be issued anew"


def test_one_content_twice_in_a_call_is_told_and_another_holder_s_is_not(counter: Counter) -> None:
    first, second = counter.file("a.pdf"), counter.folder / "b.pdf"
    second.write_bytes(first.read_bytes())
    assert counter.anchor(first, second, "--holder", HOLDER) == USAGE
    assert error_of(counter)["code"] == "already-issued" and states(counter) == []
    assert counter.anchor(first, "--holder", HOLDER) == FINE
    manifest = counter.folder / "today.csv"
    manifest.write_text("b.pdf,,\n")
    counter.output()
    notice = ["anchor", "--manifest", manifest, "--schema", NOTICE, "--home", counter.folder]
    assert run([*map(str, notice), "--url", counter.url]) == FINE


# -- in use ---------------------------------------------------------------------------------------------------


def test_a_register_in_use_is_waited_for(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    file, path = counter.file("a.pdf"), register_of_home(counter.folder)
    lock = take_lock(path)
    assert counter.anchor(file, "--holder", HOLDER, "--wait", "0s") == USAGE
    assert error_of(counter)["code"] == "register-in-use"
    polls: list[float] = []

    def poll(seconds: float) -> None:
        polls.append(seconds)
        if len(polls) == 3:
            lock.release()

    monkeypatch.setattr("node.client.issuing.register.time.sleep", poll)
    assert counter.anchor(file, "--holder", HOLDER, "--wait", "1h") == FINE
    assert len(polls) == 3
    counter.verify(file)


def test_a_batch_lends_the_register_to_others_between_its_proofs(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [counter.file(f"{n}.pdf") for n in range(5)]
    path = register_of_home(counter.folder)
    written: list[int] = []

    async def lent(_seconds: float) -> None:
        take_lock(path).release()
        written.append(sum(Path(f"{file}.proof").exists() for file in files))

    monkeypatch.setattr(registers, "CHUNK", 2)
    monkeypatch.setattr(registers, "_pause", lent)
    assert counter.anchor(*files, "--holder", HOLDER) == FINE
    assert written == [2, 4, 5]


# -- its place ------------------------------------------------------------------------------------------------


def test_a_register_in_its_old_place_is_moved_with_all_that_it_holds(counter: Counter) -> None:
    file = counter.file("a.pdf")
    assert counter.anchor(file, "--holder", HOLDER) == FINE
    path, old = register_of_home(counter.folder), counter.folder / "data" / REGISTER
    old.parent.mkdir()
    path.rename(old)
    assert register_of_home(counter.folder) == path and path.exists() and not old.exists()
    assert states(counter) == [State.DELIVERED] and path.stat().st_mode & 0o777 == 0o600
    shutil.rmtree(counter.folder / "data")
    assert states(counter) == [State.DELIVERED], "data/ may be thrown away"


def test_what_is_still_in_the_log_of_an_old_register_moves_with_it(counter: Counter) -> None:
    path, old = register_of_home(counter.folder), counter.folder / "data" / REGISTER
    old.parent.mkdir()
    with sqlite3.connect(path) as kept:
        kept.execute("PRAGMA wal_autocheckpoint = 0")
        kept.execute("UPDATE documents SET reference = 'in the log'")
        kept.commit()
        for name in (REGISTER, f"{REGISTER}-wal"):
            shutil.copy(path.with_name(name), old.with_name(name))
    kept.close()
    shutil.rmtree(path.parent)
    register_of_home(counter.folder)
    with sqlite3.connect(path) as moved:
        assert moved.execute("SELECT reference FROM documents").fetchone() == ("in the log",)
    moved.close()


def test_a_register_moves_across_disks_and_a_crash_between_leaves_one(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old = register_of_home(counter.folder), counter.folder / "data" / REGISTER
    old.parent.mkdir()
    path.rename(old)
    content = old.read_bytes()

    def across(_files: PosixFiles, source: Path, target: Path) -> None:
        if source.parent != target.parent:
            raise OSError(18, "Invalid cross-device link", str(target))
        source.replace(target)

    with monkeypatch.context() as patch:
        patch.setattr(PosixFiles, "rename", across)
        patch.setattr(PosixFiles, "remove", _refuse_once(PosixFiles))
        with pytest.raises(KeyboardInterrupt):
            register_of_home(counter.folder)
    assert path.exists() and old.exists()
    register_of_home(counter.folder)
    assert not old.exists() and len(path.read_bytes()) == len(content)
    assert states(counter) == []


def _refuse_once(kind: type[PosixFiles]) -> Callable[[PosixFiles, Path], None]:
    whole, calls = kind.remove, iter([True])

    def remove(self: PosixFiles, path: Path) -> None:
        if path.parent.name == "data" and next(calls, False):
            raise KeyboardInterrupt
        whole(self, path)

    return remove


def test_where_there_are_two_registers_nobody_chooses(counter: Counter) -> None:
    file, old = counter.file("a.pdf"), counter.folder / "data" / REGISTER
    with Register.open(old, chain_id=CHAIN_ID, issuer=ISSUER):
        pass
    assert counter.anchor(file, "--holder", HOLDER) == USAGE
    assert f"{old}" in error_of(counter)["found"]
    assert old.exists() and operations_of(counter.node) == []


# -- lost -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["missing", "empty file", "no documents"])
def test_a_lost_register_is_missed_where_the_ledger_has_anchors_of_its_issuer(
    loss: str, counter: Counter
) -> None:
    assert counter.anchor(counter.file("a.pdf"), "--holder", HOLDER) == FINE
    counter.output()
    path, second = lose(counter), counter.file("b.pdf")
    if loss == "empty file":
        path.parent.mkdir(mode=0o700)
        path.touch(mode=0o600)
    elif loss == "no documents":
        with Register.open(path, chain_id=CHAIN_ID, issuer=ISSUER):
            pass
    size = path.stat().st_size if path.exists() else None
    assert counter.anchor(second, "--holder", HOLDER) == USAGE
    error = error_of(counter)
    assert error["code"] == "register-missing" and "block 1" in error["found"]
    assert "--new-register" in error["cure"] and "backup" in error["cure"]
    assert (path.stat().st_size if path.exists() else None) == size, "nothing is put in its place"
    assert counter.anchor(second, "--holder", HOLDER, "--new-register") == FINE
    counter.verify(second)
    assert counter.anchor(counter.file("c.pdf"), "--holder", HOLDER) == FINE, "it is there now"


def test_the_first_register_of_an_issuer_is_made_without_being_asked_for(counter: Counter) -> None:
    lose(counter)
    counter.node.extend()
    file = counter.file("a.pdf")
    assert counter.anchor(file, "--holder", HOLDER) == FINE
    counter.verify(file)


def test_a_node_that_hides_an_issuer_s_anchors_makes_no_first_time(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counter.anchor(counter.file("a.pdf"), "--holder", HOLDER) == FINE
    counter.output()
    path = lose(counter)
    whole = MemoryNode.find_block

    def hiding(node: MemoryNode, height: int) -> Block | None:
        found = whole(node, height)
        return None if found is None else Block(found.encoded_header, ())

    monkeypatch.setattr(MemoryNode, "find_block", hiding)
    assert counter.anchor(counter.file("b.pdf"), "--holder", HOLDER) == UNREACHABLE
    assert not path.exists()


def test_on_a_chain_too_long_to_look_through_somebody_must_say_that_it_is_the_first_time(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(counter)
    for _ in range(3):
        counter.node.extend()
    monkeypatch.setattr(place, "BLOCKS_SEARCHED_MAX", 2)
    file = counter.file("a.pdf")
    assert counter.anchor(file, "--holder", HOLDER) == USAGE
    assert error_of(counter)["code"] == "register-missing"
    monkeypatch.setattr(place, "BLOCKS_SEARCHED_MAX", 3)
    assert counter.anchor(file, "--holder", HOLDER) == FINE


def test_a_document_is_revoked_also_where_the_register_is_lost(counter: Counter) -> None:
    file = counter.file("a.pdf")
    assert counter.anchor(file, "--holder", HOLDER) == FINE
    path = lose(counter)
    counter.output()
    assert counter.revoke("--proof", f"{file}.proof", "--reason", "error") == FINE
    assert counter.answer()["height"] == 2 and not path.exists()


# -- full -----------------------------------------------------------------------------------------------------


def test_a_full_disk_is_called_a_full_disk(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = registering._connect

    def full(path: Path) -> sqlite3.Connection:
        connection = whole(path)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    files = [counter.file(f"{n}.pdf") for n in range(200)]
    monkeypatch.setattr(registering, "_connect", full)
    assert counter.anchor(*files, "--holder", HOLDER) == USAGE
    error = error_of(counter)
    assert error["code"] == "disk-full" and "Make room" in error["cure"]
    assert operations_of(counter.node) == []
    monkeypatch.setattr(registering, "_connect", whole)
    assert counter.anchor(*files, "--holder", HOLDER) == FINE


def test_a_proof_that_a_full_disk_does_not_take_is_told_as_that(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        # As the system says it of a file that is open: without its name.
        raise OSError(28, "No space left on device")

    file = counter.file("a.pdf")
    with monkeypatch.context() as patch:
        patch.setattr(PosixFiles, "write_at", full)
        assert counter.anchor(file, "--holder", HOLDER) == USAGE
    error = error_of(counter)
    assert error["code"] == "disk-full" and "room" in error["cure"]
    assert error["where"] == f"{file}.proof"
    assert counter.anchor(file, "--holder", HOLDER) == FINE
    counter.verify(file)
