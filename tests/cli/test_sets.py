"""A set from folder to verdict: `luohu anchor --set`, `luohu set`, `luohu verify --set`, as people give them."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.exits import FINE, NO, USAGE
from cli.homes import SigningMember
from cli.program import run
from ledger.proofs import Proof
from ledger.sets import FILES_MAX, SET_MEDIA_TYPE, ShownSet, decode_manifest
from ledger.trust import TrustedRoot, trusted_root_to_json
from tests.attacks.shownsets import DICOM
from tests.cli.test_issuing_commands import Counter, counter
from tests.node.client.test_issuing import HOLDER, ISSUER, VERIFIER, operations_of
from tests.support.consortium import make_genesis, member_key_of

__all__ = ("counter",)

FILES = {"IM0001": DICOM + b"first", "IM0002": DICOM + b"second", "报告.pdf": b"%PDF SAMPLE", "empty": b""}


def fill(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def pictures(counter: Counter) -> Path:
    return fill(counter.folder / "pictures")


@pytest.fixture
def issued(counter: Counter, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the holder's file of an anchored set; the trusted root lies beside it."""
    assert counter.anchor("--set", pictures, "--holder", HOLDER) == FINE, counter.output()
    counter.output()
    root = trusted_root_to_json(TrustedRoot(1, make_genesis(), ()))
    (counter.folder / "trust.json").write_text(json.dumps(root))
    monkeypatch.setattr("cli.verify.now_ms", counter.node.clock.wall_ms)
    return counter.folder / "pictures.set"


def select(counter: Counter, *words: object, out: str = "pictures.shown") -> int:
    holder, path = counter.folder / "pictures.set", counter.folder / out
    return run(["set", "select", str(holder), *map(str, words), "--out", str(path), "--json"])


def verify(counter: Counter, folder: Path, *words: object, as_json: bool = True) -> int:
    shown, proof = counter.folder / "pictures.shown", counter.folder / "pictures.set.manifest.proof"
    call = ["verify", shown, "--set", folder, "--proof", proof, "--trust", counter.folder / "trust.json"]
    return run([*map(str, [*call, "--anchor-only", *words]), *(["--json"] if as_json else [])])


def test_a_folder_becomes_one_document_beside_it(counter: Counter, issued: Path) -> None:
    manifest, whole = Path(f"{issued}.manifest"), ShownSet.decode(issued.read_bytes())
    assert manifest.read_bytes() == whole.manifest and whole.check() == len(FILES)
    proof = Proof.decode(Path(f"{manifest}.proof").read_bytes())
    assert proof.opening.media_type == SET_MEDIA_TYPE
    verdict = VERIFIER.verify_anchor(whole.manifest, proof.encode(), now_ms=counter.node.clock.now_ms)
    assert verdict.integrity.size == len(whole.manifest)
    assert {entry.name.decode(): entry.media_type for entry in whole.entries} == {
        "IM0001": "application/dicom",
        "IM0002": "application/dicom",
        "报告.pdf": "application/pdf",
        "empty": "application/octet-stream",
    }
    assert stat.S_IMODE(issued.stat().st_mode) == 0o600
    assert sorted(path.name for path in issued.with_name("pictures").iterdir()) == sorted(FILES)
    assert operations_of(counter.node) == ["anchor"]


def test_what_is_anchored_is_not_anchored_again_and_a_crash_loses_no_salt(
    counter: Counter, pictures: Path, issued: Path
) -> None:
    before = {path.name: path.read_bytes() for path in counter.folder.iterdir() if path.is_file()}
    assert counter.anchor("--set", pictures, "--holder", HOLDER) == FINE
    answer = counter.answer()
    assert answer["already_anchored_count"] == 1
    assert answer["set"] == {"holder_file": f"{issued}", "document": f"{issued}.manifest"}
    assert {name: (counter.folder / name).read_bytes() for name in before} == before
    # The command ended between its two files, before anything was anchored.
    manifest = Path(f"{issued}.manifest")
    for path in (manifest, Path(f"{manifest}.proof")):
        path.unlink()
    assert counter.anchor("--set", pictures, "--holder", HOLDER, "--again") == FINE
    assert manifest.read_bytes() == before[manifest.name]


@pytest.mark.parametrize("change", ["one altered", "one more", "one less", "one renamed"])
def test_the_set_of_other_files_is_never_replaced(
    change: str, counter: Counter, pictures: Path, issued: Path
) -> None:
    match change:
        case "one altered":
            (pictures / "IM0001").write_bytes(DICOM + b"altered")
        case "one more":
            (pictures / "IM0003").write_bytes(b"x")
        case "one less":
            (pictures / "IM0001").unlink()
        case _:
            (pictures / "IM0001").rename(pictures / "IM0009")
    before = issued.read_bytes()
    assert counter.anchor("--set", pictures, "--holder", HOLDER) == USAGE
    error = json.loads(counter.output())["error"]
    assert error["code"] == "set-of-other-files" and str(issued) in error["where"] and error["cure"]
    assert issued.read_bytes() == before and operations_of(counter.node) == ["anchor"]


LINKED: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("IM0001"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", LINKED)
def test_what_is_no_regular_file_is_in_no_set(kind: str, counter: Counter, pictures: Path) -> None:
    LINKED[kind](pictures / "other")
    assert counter.anchor("--set", pictures, "--holder", HOLDER) == USAGE
    error = json.loads(counter.output())["error"]
    assert error["code"] == "path" and error["where"].endswith("other") and error["cure"]
    assert operations_of(counter.node) == [] and not (counter.folder / "pictures.set").exists()


NAMES = [
    ((), "set-empty"),
    (("scan.dcm", "SCAN.dcm"), "set-names-alike"),
    (("caf\u00e9", "cafe\u0301"), "set-names-alike"),
    (("ill", "111"), "set-names-alike"),
    (("cafe\u0301",), "set-name"),
    ((".DS_Store",), "set-name"),
    (("con.txt",), "set-name"),
    (("a\u202eb",), "set-name"),
    (("-rf",), "set-name"),
    (("a\x1b[2J",), "set-name"),
    ((os.fsdecode(b"\xff.dcm"),), "set-name"),
]


@pytest.mark.parametrize(("names", "code"), NAMES)
def test_names_that_make_no_set_are_refused_before_anything_is_read(
    names: tuple[str, ...], code: str, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(counter.folder / "pictures", dict.fromkeys(names, b"x"))
    monkeypatch.setattr("node.client.issuing.setfolder.open_within", None)
    assert counter.anchor("--set", folder, "--holder", HOLDER) == USAGE
    error = json.loads(counter.output())["error"]
    assert error["code"] == code and str(folder) in error["where"] and error["cure"]
    assert operations_of(counter.node) == [] and [*counter.folder.glob("pictures.set*")] == []


@pytest.mark.slow
def test_a_set_of_one_file_too_many_is_refused_before_anything_is_read(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(counter.folder / "pictures", {f"{number:05}": b"" for number in range(FILES_MAX + 1)})
    monkeypatch.setattr("node.client.issuing.setfolder.open_within", None)
    assert counter.anchor("--set", folder, "--holder", HOLDER) == USAGE
    assert json.loads(counter.output())["error"]["code"] == "set-too-many"
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("named", "code"),
    [
        (SET_MEDIA_TYPE, "reserved-media-type"),
        ("Application/dicom", "encoding"),
        ("dicom", "encoding"),
        ("", "encoding"),
    ],
)
def test_the_media_type_of_a_set_cannot_be_named(named: str, code: str, counter: Counter) -> None:
    file = counter.file("a.bin")
    file.write_bytes(b"LUOHU-SET\x01" + bytes(32))
    assert counter.anchor(file, "--holder", HOLDER, "--media-type", named) == USAGE
    error = json.loads(counter.output())["error"]
    assert (error["code"], error["where"]) == (code, "--media-type")
    assert operations_of(counter.node) == []


def test_no_file_becomes_a_set_by_what_it_holds_or_is_called(counter: Counter, issued: Path) -> None:
    handed_in = counter.folder / "customer.set.manifest"
    handed_in.write_bytes(Path(f"{issued}.manifest").read_bytes())
    assert counter.anchor(handed_in, "--holder", HOLDER, "--again") == FINE
    assert counter.verify(handed_in).opening.media_type == "application/octet-stream"


def test_a_media_type_is_named_or_told_by_four_bytes(counter: Counter) -> None:
    scan, raw, cut = counter.file("scan"), counter.file("raw.bin"), counter.file("cut")
    scan.write_bytes(DICOM)
    cut.write_bytes(DICOM[:-1])
    picture = counter.file("picture.jpg")
    picture.write_bytes(DICOM + b"and more")
    assert counter.anchor(scan, cut, picture, "--holder", HOLDER) == FINE
    assert [counter.verify(file).opening.media_type for file in (scan, cut, picture)] == [
        "application/dicom",
        "application/octet-stream",
        "image/jpeg",
    ]
    assert counter.anchor(raw, "--holder", HOLDER, "--media-type", "application/dicom") == FINE
    assert counter.verify(raw).opening.media_type == "application/dicom"


def test_the_holder_shows_chosen_files_and_the_bank_verifies_them(counter: Counter, issued: Path) -> None:
    assert select(counter, "--file", "IM0001", "--file", "报告.pdf") == FINE
    chosen = counter.answer()
    assert chosen["shown"] == ["IM0001", "报告.pdf"] and chosen["files_count"] == 4
    shown = counter.folder / "pictures.shown"
    assert stat.S_IMODE(shown.stat().st_mode) == 0o600
    assert b"second" not in shown.read_bytes() and b"IM0002" not in shown.read_bytes()
    received = fill(counter.folder / "received", {"a": FILES["报告.pdf"], "IM0002": FILES["IM0001"]})
    assert verify(counter, received) == FINE
    answer = counter.answer()
    assert answer["verdict"] == "anchor-verified"
    assert answer["set"] == {
        "files": [
            {"name": "IM0001", "media_type": "application/dicom", "size": 137, "found_as": ["IM0002"]},
            {"name": "报告.pdf", "media_type": "application/pdf", "size": 11, "found_as": ["a"]},
        ],
        "shown_count": 2,
        "files_count": 4,
        "is_whole": False,
        "shown_hash": chosen["shown_hash"],
    }
    assert verify(counter, received, as_json=False) == FINE
    said = counter.output()
    assert said.startswith("ANCHOR VERIFIED ONLY, 2 of 4 files of the set: ")
    assert "is the issuer's word" in said and "here IM0002" in said


def test_all_files_may_be_shown(counter: Counter, issued: Path, pictures: Path) -> None:
    assert select(counter, "--all") == FINE
    counter.output()
    assert verify(counter, pictures) == FINE
    answer = counter.answer()["set"]
    assert answer["is_whole"] and answer["shown_count"] == 4
    assert run(["set", "show", str(issued)]) == FINE
    assert counter.output().startswith(f"{issued}: all 4 files of the set\n")


def test_the_holders_file_is_never_overwritten(counter: Counter, issued: Path) -> None:
    before = issued.read_bytes()
    assert select(counter, "--all", out="pictures.set") == USAGE
    assert issued.read_bytes() == before


@pytest.mark.parametrize("words", [(), ("--all", "--file", "IM0001")])
def test_a_choice_is_some_files_or_all(words: tuple[str, ...], counter: Counter, issued: Path) -> None:
    assert select(counter, *words) == USAGE
    assert not (counter.folder / "pictures.shown").exists()


def test_a_file_that_the_set_has_not_cannot_be_chosen(counter: Counter, issued: Path) -> None:
    assert select(counter, "--file", "IM0007") == NO
    assert json.loads(counter.output())["error"]["code"] == "set-no-such-file"
    assert not (counter.folder / "pictures.shown").exists()


ALTERED: dict[str, tuple[dict[str, bytes], str]] = {
    "altered": ({"IM0001": DICOM + b"First"}, "set-file-unknown"),
    "one more": ({"IM0001": FILES["IM0001"], "IM0002": FILES["IM0002"]}, "set-file-unknown"),
    "another": ({"IM0001": FILES["IM0002"]}, "set-file-unknown"),
}


@pytest.mark.parametrize("case", ALTERED)
def test_files_that_are_not_those_shown_are_refused(case: str, counter: Counter, issued: Path) -> None:
    files, code = ALTERED[case]
    assert select(counter, "--file", "IM0001") == FINE
    counter.output()
    assert verify(counter, fill(counter.folder / "received", files)) == NO
    answer = counter.answer()
    assert (answer["verdict"], answer["step"], answer["code"]) == ("refused", "set", code)
    assert answer["checked"] == ["trust", "document", "anchor", "issuer", "status", "age"]


def test_a_file_that_is_missing_is_named(counter: Counter, issued: Path) -> None:
    assert select(counter, "--file", "IM0001", "--file", "IM0002") == FINE
    counter.output()
    assert verify(counter, fill(counter.folder / "received", {"x": FILES["IM0001"]})) == NO
    answer = counter.answer()
    assert answer["code"] == "set-file-missing" and "IM0002" in answer["where"]


@pytest.mark.parametrize("kind", LINKED)
def test_a_folder_that_others_filled_with_something_else_is_refused(
    kind: str, counter: Counter, issued: Path
) -> None:
    assert select(counter, "--file", "IM0001") == FINE
    counter.output()
    received = fill(counter.folder / "received", {"IM0001": FILES["IM0001"]})
    LINKED[kind](received / "other")
    assert verify(counter, received) == USAGE
    assert json.loads(counter.output())["error"]["where"].endswith("other")


def test_the_manifest_alone_is_verified_as_that(counter: Counter, issued: Path) -> None:
    call = ["verify", f"{issued}.manifest", "--trust", str(counter.folder / "trust.json"), "--anchor-only"]
    assert run(call) == FINE
    assert "none of its files was verified" in counter.output()


@pytest.mark.parametrize("words", [("--bundle",), ("--extract", "x")], ids=lambda words: words[0])
def test_a_set_is_no_bundle(words: tuple[str, ...], counter: Counter, issued: Path) -> None:
    assert select(counter, "--file", "IM0001") == FINE
    assert verify(counter, counter.folder / "pictures", *words) == USAGE


def test_a_set_is_not_corrected_by_a_file(
    counter: Counter, issued: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home: Any = SimpleNamespace(member=ISSUER, genesis=make_genesis(), path=counter.folder)
    monkeypatch.setattr("cli.issued.open_member", lambda *_: SigningMember(home, member_key_of(ISSUER)))
    monkeypatch.setattr("cli.issued.Home", SimpleNamespace(open=lambda _: home))
    other = counter.file("corrected.set.manifest")
    call = ["issued", "correct", "2", str(other), "--home", str(counter.folder), "--url", counter.url]
    assert run([*call, "--json"]) == USAGE
    error = json.loads(counter.output())["error"]
    assert "set" in error["found"] and "--set" in error["cure"]


def test_the_digests_of_two_sets_of_one_folder_share_nothing(counter: Counter, pictures: Path) -> None:
    assert counter.anchor("--set", pictures, "--holder", HOLDER) == FINE
    first = ShownSet.decode((counter.folder / "pictures.set").read_bytes())
    for path in counter.folder.glob("pictures.set*"):
        path.unlink()
    assert counter.anchor("--set", pictures, "--holder", HOLDER) == FINE
    second = ShownSet.decode((counter.folder / "pictures.set").read_bytes())
    assert not {*decode_manifest(first.manifest)} & {*decode_manifest(second.manifest)}


def test_more_than_one_way_to_name_documents_is_refused(counter: Counter, pictures: Path) -> None:
    file = counter.file("a.pdf")
    for words in ((file, "--set", pictures), ("--set", pictures, "--manifest", file), ()):
        assert counter.anchor(*words, "--holder", HOLDER) == USAGE
    assert operations_of(counter.node) == []
