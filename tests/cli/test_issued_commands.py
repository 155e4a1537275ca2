"""`luohu issued`: the counter lists, proves again, corrects, retries and drops, and each refusal changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import issued as commands
from cli.exits import FINE, INTERRUPTED, NO, UNREACHABLE, USAGE
from cli.homes import SigningMember
from cli.program import run
from ledger.proofs import Proof
from node.client.issuing.outbox import Outbox
from node.client.issuing.place import register_of_home
from node.client.issuing.register import Register, State
from tests.cli.test_issuing_commands import Counter, counter
from tests.node.client.test_issuing import HOLDER, ISSUER, operations_of
from tests.support.consortium import CHAIN_ID, make_genesis, member_key_of
from tests.support.governors import suspend

__all__ = ["counter"]

DAY = 86_400_000


@dataclass(slots=True)
class Desk:
    """The counter, with `luohu issued`."""

    counter: Counter

    def issued(self, command: str, *arguments: object, is_online: bool = False) -> int:
        more = ["--home", self.counter.folder, "--json", *(["--url", self.counter.url] if is_online else [])]
        self.counter.output()
        return run(["issued", command, *map(str, [*arguments, *more])])

    def answer(self) -> dict[str, Any]:
        return self.counter.answer()

    def anchored(self, name: str) -> Path:
        file = self.counter.file(name)
        assert self.counter.anchor(file, "--holder", HOLDER) == FINE
        return file

    def states(self) -> list[State]:
        path = register_of_home(self.counter.folder)
        with Register.open(path, chain_id=CHAIN_ID, issuer=ISSUER) as register:
            return [each.state for each in reversed(register.newest(100))][1:]


@pytest.fixture
def desk(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    home: Any = SimpleNamespace(member=ISSUER, genesis=make_genesis(), path=counter.folder)
    monkeypatch.setattr(commands, "open_member", lambda *_: SigningMember(home, member_key_of(ISSUER)))
    monkeypatch.setattr(commands, "Home", SimpleNamespace(open=lambda _: home))
    monkeypatch.setattr(commands, "SystemClock", lambda: counter.node.clock)
    monkeypatch.setattr(commands, "now_ms", counter.node.clock.wall_ms)
    yield Desk(counter)


# -- list and show --------------------------------------------------------------------------------------------


def test_what_was_issued_is_listed_newest_first_with_a_count_of_each_state(desk: Desk) -> None:
    files = [desk.anchored("a.pdf"), desk.anchored("b.pdf")]
    assert desk.counter.anchor(desk.counter.file("c.pdf")) == NO
    assert desk.issued("list") == FINE
    answer = desk.answer()
    assert answer["counts"] == {"delivered": 2, "dropped": 1, "refused": 1}
    assert [each["number"] for each in answer["documents"]] == [4, 3, 2, 1]
    assert answer["documents"][0]["refused_code"] == "no-holder"
    assert answer["documents"][1]["proof"] == f"{files[1]}.proof"
    assert desk.issued("list", "--state", "delivered", "--limit", "1") == FINE
    assert [each["number"] for each in desk.answer()["documents"]] == [3]
    assert desk.issued("list", "--state", "nowhere") == USAGE


def test_a_document_is_found_by_its_number_its_commitment_and_its_file(desk: Desk) -> None:
    file = desk.anchored("a.pdf")
    commitment = Proof.decode(Path(f"{file}.proof").read_bytes()).opening.commitment().hex()
    for name in ("2", commitment, file):
        assert desk.issued("show", name) == FINE
        answer = desk.answer()
        assert (answer["number"], answer["state"], answer["height"]) == (2, "delivered", 1)
        assert answer["commitment"] == commitment and answer["same_content"] == []


@pytest.mark.parametrize("name", ["99", "0" * 64, "nothing.pdf", "", "a\x00b", "9" * 40, "../.."])
def test_a_document_that_nobody_issued_is_named_in_the_refusal(name: str, desk: Desk) -> None:
    assert desk.issued("show", name) == USAGE
    assert desk.answer()["error"]["code"] == "unknown-document"


def test_a_file_that_stands_twice_is_refused_with_both_numbers(desk: Desk) -> None:
    file = desk.anchored("a.pdf")
    Path(f"{file}.proof").rename(desk.counter.folder / "kept")
    assert desk.counter.anchor(file, "--holder", HOLDER, "--again") == FINE
    assert desk.issued("show", file) == USAGE
    assert "2 (delivered), 3 (delivered)" in desk.answer()["error"]["found"]
    assert desk.issued("show", "2") == FINE
    assert desk.answer()["same_content"] == [3]


def test_a_lost_register_is_not_listed_as_empty(desk: Desk) -> None:
    path = register_of_home(desk.counter.folder)
    path.unlink()
    assert desk.issued("list") == USAGE
    assert desk.answer()["error"]["code"] == "register-missing" and not path.exists()


# -- proof ----------------------------------------------------------------------------------------------------


def test_a_lost_proof_is_made_again_and_nothing_is_anchored(desk: Desk) -> None:
    file = desk.anchored("a.pdf")
    proof = Path(f"{file}.proof")
    before = Proof.decode(proof.read_bytes())
    proof.unlink()
    assert desk.issued("proof", file, "--dry-run", is_online=True) == FINE
    assert not proof.exists()
    assert desk.issued("proof", file, is_online=True) == FINE
    assert desk.counter.verify(file).opening == before.opening
    assert proof.stat().st_mode & 0o777 == 0o600
    other = desk.counter.folder / "other.proof"
    assert desk.issued("proof", "2", "--out", other, is_online=True) == FINE
    assert Proof.decode(other.read_bytes()).opening == before.opening
    assert operations_of(desk.counter.node) == ["anchor"]


def test_a_proof_is_written_over_nothing_but_a_proof_of_the_same_document(desk: Desk) -> None:
    first, second = desk.anchored("a.pdf"), desk.anchored("b.pdf")
    proof, other = Path(f"{first}.proof"), Path(f"{second}.proof")
    assert desk.issued("proof", first, is_online=True) == FINE, "it is renewed"
    assert desk.issued("proof", first, "--out", other, is_online=True) == USAGE
    for content in (other.read_bytes(), b"notes"):
        proof.write_bytes(content)
        assert desk.issued("proof", first, is_online=True) == USAGE
        assert proof.read_bytes() == content


def test_where_no_proof_can_be_written_the_path_is_named(desk: Desk) -> None:
    desk.anchored("a.pdf")
    nowhere = desk.counter.folder / "gone" / "a.proof"
    assert desk.issued("proof", "2", "--out", nowhere, is_online=True) == USAGE
    assert desk.answer()["error"]["where"] == f"{nowhere}"


def test_what_is_revoked_or_not_anchored_has_no_proof(desk: Desk) -> None:
    file = desk.anchored("a.pdf")
    assert desk.counter.revoke("--proof", f"{file}.proof", "--reason", "error") == FINE
    for name in ("1", "2"):
        assert desk.issued("proof", name, "--out", desk.counter.folder / "new", is_online=True) == USAGE
    assert not (desk.counter.folder / "new").exists()


# -- correct --------------------------------------------------------------------------------------------------


def test_a_correction_is_issued_and_then_the_old_document_is_revoked(desk: Desk) -> None:
    old, new = desk.anchored("a.pdf"), desk.counter.file("b.pdf")
    assert desk.issued("correct", old, new, "--dry-run", is_online=True) == FINE
    assert desk.states() == [State.DELIVERED]
    assert desk.issued("correct", old, new, is_online=True) == FINE
    answer = desk.answer()
    assert (answer["corrected"], answer["number"], len(answer["revoked"])) == (2, 3, 1)
    desk.counter.verify(new)
    assert desk.states() == [State.CORRECTED, State.DELIVERED]
    assert operations_of(desk.counter.node) == ["anchor", "anchor", "revoke"]
    assert desk.issued("show", "2") == FINE
    assert desk.answer()["corrected_by"] == 3
    assert desk.issued("correct", "2", new, is_online=True) == FINE, "again is the same correction"
    assert operations_of(desk.counter.node) == ["anchor", "anchor", "revoke"]
    assert desk.issued("correct", "2", desk.counter.file("c.pdf"), is_online=True) == USAGE
    assert "document 3" in desk.answer()["error"]["found"]


def test_whatever_cuts_a_correction_short_the_holder_has_a_document(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = desk.anchored("a.pdf"), desk.counter.file("b.pdf")
    whole = Outbox.revoke

    async def cut(_self: Outbox, _due: object) -> None:
        raise KeyboardInterrupt

    desk.counter.node.is_holding = True
    assert desk.issued("correct", old, new, is_online=True) == UNREACHABLE
    desk.counter.node.is_holding = False
    assert desk.states() == [State.DELIVERED, State.SUBMITTED]
    monkeypatch.setattr(Outbox, "revoke", cut)
    assert desk.issued("correct", old, new, is_online=True) == INTERRUPTED
    desk.counter.verify(old)
    assert desk.states() == [State.DELIVERED, State.ANCHORED]
    monkeypatch.setattr(Outbox, "revoke", whole)
    assert desk.issued("correct", old, new, is_online=True) == FINE
    desk.counter.verify(new)
    assert operations_of(desk.counter.node) == ["anchor", "anchor", "revoke"]


def test_a_correction_that_nobody_can_prove_leaves_the_old_document_standing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = desk.anchored("a.pdf"), desk.counter.file("b.pdf")
    with monkeypatch.context() as patch:
        # A bearer document, where the kind asks for a holder.
        patch.setattr(commands, "_holder", lambda *_: None)
        assert desk.issued("correct", old, new, is_online=True) == NO
    assert [each["code"] for each in desk.answer()["refused"]] == ["no-holder"]
    assert desk.states() == [State.DELIVERED, State.REFUSED]
    desk.counter.verify(old)
    assert operations_of(desk.counter.node) == ["anchor", "anchor"], "nothing was revoked"
    assert desk.issued("drop", "3", "--yes") == FINE
    good = desk.counter.file("c.pdf")
    assert desk.issued("correct", old, good, is_online=True) == FINE
    assert desk.states() == [State.CORRECTED, State.DROPPED, State.DELIVERED]


@pytest.mark.parametrize("wrong", ["the same", "past", "holder", "proof there", "not anchored", "no file"])
def test_a_correction_that_makes_no_sense_is_refused_and_changes_nothing(wrong: str, desk: Desk) -> None:
    old, new = desk.anchored("a.pdf"), desk.counter.file("b.pdf")
    more: list[object] = []
    match wrong:
        case "the same":
            new = old
        case "past":
            more = ["--expires", "2020-01-01"]
        case "holder":
            more = ["--holder", "somebody"]
        case "proof there":
            Path(f"{new}.proof").write_bytes(b"kept")
        case "not anchored":
            old = Path("1")
        case _:
            new = desk.counter.folder / "nothing.pdf"
    assert desk.issued("correct", old, new, *more, is_online=True) == USAGE
    assert desk.states() == [State.DELIVERED] and operations_of(desk.counter.node) == ["anchor"]


# -- retry ----------------------------------------------------------------------------------------------------


def test_what_was_refused_is_tried_again_once_its_cause_is_gone(desk: Desk) -> None:
    member, ledger = desk.counter.node.ledger.tip, desk.counter.node.ledger
    suspend(ledger, ISSUER)
    file = desk.counter.file("a.pdf")
    assert desk.counter.anchor(file, "--holder", HOLDER) == NO
    assert desk.states() == [State.REFUSED]
    assert desk.issued("retry", is_online=True) == NO
    assert [each["number"] for each in desk.answer()["refused"]] == [2]
    ledger.tip = member
    assert desk.issued("retry", "--dry-run", is_online=True) == FINE
    assert desk.answer()["retried"] == [2] and desk.states() == [State.REFUSED]
    assert desk.issued("retry", is_online=True) == FINE
    assert desk.answer()["delivered_count"] == 1
    desk.counter.verify(file)


def test_retry_finishes_what_an_outage_left_all_or_those_that_are_named(desk: Desk) -> None:
    files = [desk.counter.file(f"{n}.pdf") for n in range(3)]
    desk.counter.node.is_holding = True
    for file in files:
        assert desk.counter.anchor(file, "--holder", HOLDER) == UNREACHABLE
    desk.counter.node.is_holding = False
    assert desk.issued("retry", files[1], is_online=True) == FINE
    assert desk.states() == [State.SUBMITTED, State.DELIVERED, State.SUBMITTED]
    assert desk.issued("retry", is_online=True) == FINE
    assert desk.answer()["delivered_count"] == 2 and desk.states() == [State.DELIVERED] * 3


def test_what_has_expired_stays_refused_and_is_named(desk: Desk) -> None:
    file = desk.counter.file("a.pdf")
    desk.counter.node.is_holding = True
    assert desk.counter.anchor(file, "--holder", HOLDER, "--expires", "2027-02-01") == UNREACHABLE
    desk.counter.node.is_holding = False
    desk.counter.node.clock.now_ms += 60 * DAY
    for _ in range(2):
        desk.issued("retry", is_online=True)
        assert desk.states() == [State.REFUSED]
    assert desk.issued("retry", "2", is_online=True) == NO
    assert [each["refused_code"] for each in desk.answer()["refused"]] == ["expired"]
    assert desk.issued("drop", "2", "--yes") == FINE
    assert desk.issued("retry", is_online=True) == FINE


# -- drop -----------------------------------------------------------------------------------------------------


def test_nothing_is_dropped_without_a_yes_and_nothing_that_is_on_the_ledger(desk: Desk) -> None:
    file = desk.anchored("a.pdf")
    assert desk.counter.anchor(desk.counter.file("b.pdf")) == NO
    assert desk.issued("drop", "3") == USAGE, "nobody was asked"
    assert desk.issued("drop", "3", "--dry-run") == FINE
    for named in ([file], ["3", file]):
        assert desk.issued("drop", *named, "--yes") == USAGE
        assert "revoke" in desk.answer()["error"]["cure"]
    assert desk.states() == [State.DELIVERED, State.REFUSED]
    assert desk.issued("drop", "3", "--yes") == FINE
    assert desk.answer()["dropped"] == [3] and desk.states() == [State.DELIVERED, State.DROPPED]
