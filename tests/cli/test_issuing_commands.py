"""`luohu anchor` and `luohu revoke` over the register: nothing twice, nothing lost, the next node where one is down."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import anchor as commands
from cli.exits import FINE, NO, UNREACHABLE, USAGE
from cli.homes import SigningMember
from cli.program import run
from ledger.encoding.keys import PublicKey
from ledger.proofs import Proof
from node.client.issuing.draft import Draft, draft_of_bytes, draft_of_file
from node.client.issuing.place import register_of_home
from node.client.issuing.register import REGISTER, Register
from node.files.durablefile import POSIX_FILES
from tests.node.client.test_issuing import HOLDER, ISSUER, VERIFIER, operations_of
from tests.support.consortium import CHAIN_ID, REPORT, make_genesis, member_key_of
from tests.support.memory_node import MemoryNode
from tests.support.office import served

NOWHERE = "http://127.0.0.1:1"
FIRST: Any = {"media_type": "text/plain", "schema": REPORT, "holder_key": None}


@dataclass(slots=True)
class Counter:
    """An issuer's counter: files, a home and a node."""

    node: MemoryNode
    url: str
    folder: Path
    output: Callable[[], str]

    def file(self, name: str) -> Path:
        path = self.folder / name
        path.write_bytes(f"SAMPLE {name}".encode())
        return path

    def anchor(self, *arguments: object, url: str | None = None) -> int:
        home = ["--schema", REPORT, "--home", self.folder, "--url", url or self.url, "--json"]
        return run(["anchor", *map(str, [*arguments, *home])])

    def revoke(self, *arguments: object) -> int:
        home = ["--home", self.folder, "--url", self.url, "--json"]
        return run(["revoke", *map(str, [*arguments, *home])])

    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.output())
        return answer

    def verify(self, document: Path) -> Proof:
        encoded = Path(f"{document}.proof").read_bytes()
        VERIFIER.verify_anchor(document.read_bytes(), encoded, now_ms=self.node.clock.now_ms)
        return Proof.decode(encoded)


@pytest.fixture
def counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Counter]:
    node = MemoryNode()
    home: Any = SimpleNamespace(member=ISSUER, genesis=make_genesis(), path=tmp_path)
    monkeypatch.setattr(commands, "open_member", lambda *_: SigningMember(home, member_key_of(ISSUER)))
    monkeypatch.setattr(commands, "SystemClock", lambda: node.clock)
    monkeypatch.setattr(commands, "now_ms", node.clock.wall_ms)
    monkeypatch.setattr("cli.times.now_ms", node.clock.wall_ms)
    with Register.open(register_of_home(tmp_path), chain_id=CHAIN_ID, issuer=ISSUER) as register:
        register.drop(register.collect([draft_of_bytes(b"", **FIRST)], now_ms=node.clock.now_ms))
    with served(node) as url:
        yield Counter(node, url, tmp_path, lambda: capsys.readouterr().out)


def test_files_are_anchored_together_and_each_gets_its_proof(counter: Counter) -> None:
    files = [counter.file(f"{n}.pdf") for n in range(5)]
    assert counter.anchor(*files, "--holder", HOLDER) == FINE
    answer = counter.answer()
    assert [each["documents_count"] for each in answer["anchors"]] == [5]
    assert answer["anchors"][0]["height"] == 1 and answer["already_anchored_count"] == 0
    assert answer["proofs"] == [f"{file}.proof" for file in files]
    assert len({counter.verify(file).anchor_root for file in files}) == 1


def test_what_is_anchored_is_not_anchored_again(counter: Counter) -> None:
    first, second = counter.file("a.pdf"), counter.file("b.pdf")
    assert counter.anchor(first, "--holder", HOLDER) == FINE
    before = Path(f"{first}.proof").read_bytes()
    counter.output()
    assert counter.anchor(first, second, "--holder", HOLDER) == FINE
    answer = counter.answer()
    assert answer["already_anchored_count"] == 1 and answer["anchors"][0]["documents_count"] == 1
    assert Path(f"{first}.proof").read_bytes() == before
    first.write_bytes(b"another content")
    assert counter.anchor(first, "--holder", HOLDER) == USAGE
    assert Path(f"{first}.proof").read_bytes() == before
    assert operations_of(counter.node) == ["anchor", "anchor"]


def test_what_an_outage_left_is_finished_by_the_next_command(counter: Counter) -> None:
    file = counter.file("a.pdf")
    counter.node.is_holding = True
    assert counter.anchor(file, "--holder", HOLDER) == UNREACHABLE
    assert not Path(f"{file}.proof").exists() and (counter.folder / "issued" / REGISTER).exists()
    counter.node.is_holding = False
    counter.output()
    assert counter.anchor(file, "--holder", HOLDER) == FINE
    assert len(counter.answer()["anchors"]) == 1
    counter.verify(file)
    assert operations_of(counter.node) == ["anchor"]


def test_a_proof_lies_beside_the_name_that_was_given_though_it_is_a_link(counter: Counter) -> None:
    inbox = counter.folder / "inbox"
    inbox.mkdir()
    target, link = counter.file("inbox/target.pdf"), counter.folder / "link.pdf"
    link.symlink_to("inbox/target.pdf")
    assert counter.anchor(link, "--holder", HOLDER) == FINE
    assert counter.answer()["proofs"] == [f"{link}.proof"]
    assert [*inbox.iterdir()] == [target] and link.is_symlink()
    counter.verify(link)
    assert counter.anchor(link, "--holder", HOLDER) == FINE
    assert counter.answer()["already_anchored_count"] == 1


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "directory"])
def test_where_no_proof_can_be_written_nothing_is_recorded(kind: str, counter: Counter) -> None:
    file = counter.file("a.pdf")
    proof = counter.folder / "a.pdf.proof"
    match kind:
        case "link":
            proof.symlink_to(counter.file("other"))
        case "dangling link":
            proof.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(proof)
        case _:
            proof.mkdir()
    assert counter.anchor(file, "--holder", HOLDER) == USAGE
    assert json.loads(counter.output())["error"]["where"] == f"{proof}"
    assert operations_of(counter.node) == [] and not (counter.folder / "nowhere").exists()


def test_documents_are_read_before_the_register_is_taken_from_others(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reading(
        path: Path,
        *,
        schema: str,
        holder_key: PublicKey | None,
        expires_ms: int | None,
        folder: Path | None,
        media_type: str | None,
    ) -> Draft:
        POSIX_FILES.lock(counter.folder / "register.lock").release()
        read.append(path)
        assert folder is None and media_type is None
        return draft_of_file(path, schema=schema, holder_key=holder_key, expires_ms=expires_ms)

    counter.file("register.lock").unlink()
    counter.folder.joinpath("register.lock").hardlink_to(counter.folder / "issued" / f"{REGISTER}.lock")
    monkeypatch.setattr(commands, "draft_of_file", reading)
    files = [counter.file(f"{n}.pdf") for n in range(3)]
    assert counter.anchor(*files, "--holder", HOLDER) == FINE
    assert read == files


def test_the_next_url_is_asked_where_one_is_down(counter: Counter) -> None:
    file = counter.file("a.pdf")
    assert counter.anchor(file, "--holder", HOLDER, url=NOWHERE) == UNREACHABLE
    assert counter.anchor(file, "--holder", HOLDER, "--url", NOWHERE) == FINE
    counter.verify(file)


def test_one_document_is_revoked_by_its_proof_and_the_others_are_not(counter: Counter) -> None:
    files = [counter.file(f"{n}.pdf") for n in range(3)]
    assert counter.anchor(*files, "--holder", HOLDER) == FINE
    counter.output()
    proof = f"{files[1]}.proof"
    assert counter.revoke("--proof", proof, "--reason", "error") == FINE
    assert counter.answer()["height"] == 2
    assert counter.revoke("--proof", proof, "--reason", "error") == FINE
    assert counter.answer()["height"] is None, "it was revoked before"
    assert operations_of(counter.node) == ["anchor", "revoke"]
    refresh = ["proof", "refresh", "--url", counter.url]
    assert run([*refresh, proof]) == NO
    assert run([*refresh, f"{files[0]}.proof"]) == FINE
    counter.verify(files[0])


def test_a_whole_anchor_is_revoked_by_its_root(counter: Counter) -> None:
    file = counter.file("a.pdf")
    assert counter.anchor(file, "--holder", HOLDER) == FINE
    root = counter.answer()["anchors"][0]["root"]
    assert counter.revoke("--anchor", root, "--reason", "fraud") == FINE
    assert counter.answer()["height"] == 2
    assert counter.revoke("--anchor", "00" * 32, "--reason", "fraud") == NO
