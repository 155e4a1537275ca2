"""`luohu verify`: a named file is what its bytes are to everybody; a bundle is asked for by name, and said first."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from cli.exits import FINE, NO, USAGE
from cli.program import run
from cli.times import show_time
from ledger.trust import trusted_root_to_json
from node.files.durablefile import FileOperations, create_file
from tests.attacks.forge import NOW_MS, honest
from tests.ledger.test_bundles import archive
from tests.support.archives import TOOLS, UTF8, Part, extra, zip_of
from tests.support.consortium import LATER_MS

PAGE = b"%PDF-1.4\nCREDIT REPORT. No overdue accounts. Owed: HKD 0. Score: AAA.\n%%EOF\n"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's clock stands after the story: `--at` asks about a past time."""
    monkeypatch.setattr("cli.verify.now_ms", lambda: LATER_MS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shown = honest()
    (tmp_path / "trust.json").write_text(json.dumps(trusted_root_to_json(shown.trust)))
    (tmp_path / "request").write_bytes(shown.request.encode())
    (tmp_path / "both.zip").write_bytes(bundle())
    (tmp_path / "report.pdf").write_bytes(shown.document)
    (tmp_path / "the-proof").write_bytes(shown.proof_bytes)
    return tmp_path


def bundle(document: bytes | None = None, name: str = "x.pdf") -> bytes:
    shown = honest()
    return archive((name, shown.document if document is None else document), ("y", shown.proof_bytes))


def verify(folder: Path, *more: str, is_anchor_only: bool = False) -> int:
    at = show_time(NOW_MS).replace(" UTC+8", "")
    asked = ["--anchor-only"] if is_anchor_only else ["--request", str(folder / "request")]
    return run(["verify", *more, "--trust", str(folder / "trust.json"), *asked, "--at", at])


def polyglots() -> dict[str, bytes]:
    """Return bundles of the honest document that show another page to whoever does not unpack them."""
    shown = honest()
    document, proof = Part(b"real.pdf", shown.document), Part(b"real.pdf.proof", shown.proof_bytes)
    page = PAGE.replace(b"\n", b" ")[:200]
    html = b"<html><body><h1>Score AAA</h1><script>"
    return {
        "in the extra field of times": zip_of([replace(document, local_extra=extra(0x5455, PAGE)), proof]),
        "in that of the directory": zip_of([document, replace(proof, central_extra=extra(0x000A, PAGE))]),
        "in front": zip_of([document, proof], prefix=PAGE),
        "behind": zip_of([document, proof]) + PAGE,
        "between": zip_of([replace(document, gap=PAGE), proof]),
        "in a comment": zip_of([document, proof], comment=PAGE),
        "in a comment of an entry": zip_of([replace(document, comment=PAGE), proof]),
        "in a name": zip_of([replace(document, name=page), proof]),
        "in a name, as HTML": zip_of([replace(document, name=html), proof]),
        "in another entry": zip_of([document, proof, Part(b"page.pdf", PAGE, method=0)]),
        "behind a descriptor": zip_of([replace(document, flags=8, gap=PAGE), proof]),
        "nowhere: an honest bundle": zip_of([document, proof]),
    }


@pytest.mark.parametrize("where", polyglots())
def test_a_forged_page_is_never_verified_under_its_own_name(
    folder: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = folder / "forged.pdf"
    forged.write_bytes(polyglots()[where])
    for more in ([], ["--proof", str(folder / "the-proof")]):
        assert verify(folder, str(forged), *more) != FINE
        assert verify(folder, str(forged), *more, is_anchor_only=True) != FINE
    shutil.copy(folder / "the-proof", folder / "forged.pdf.proof")
    assert verify(folder, str(forged)) == NO
    assert "VERIFIED" not in capsys.readouterr().out


@pytest.mark.parametrize("where", polyglots())
def test_asked_for_as_a_bundle_it_is_told_as_one_or_refused(
    folder: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = folder / "forged.pdf"
    forged.write_bytes(polyglots()[where])
    is_honest = where.startswith("nowhere")
    assert verify(folder, str(forged), "--bundle") == (FINE if is_honest else NO)
    first, *_ = capsys.readouterr().out.splitlines()
    assert f"the document inside {forged}" in first
    assert first.startswith("VERIFIED: " if is_honest else "REFUSED: pair-malformed")


def test_the_missing_proof_of_a_zip_says_how_to_ask_for_a_bundle(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "both.pdf").write_bytes(bundle())
    assert verify(folder, str(folder / "both.pdf")) == USAGE
    said = capsys.readouterr().err
    assert "both.pdf.proof" in said and "--bundle" in said and "--proof" in said
    assert verify(folder, str(folder / "none.zip")) == USAGE
    assert "none.zip" in capsys.readouterr().err


@pytest.mark.parametrize("tool", TOOLS)
def test_the_document_inside_is_verified_and_named_first(
    folder: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = honest()
    names = ("report.pdf", "report.pdf.proof")
    both = folder / "both.zip"
    both.write_bytes(zip_of(TOOLS[tool].parts(shown.document, shown.proof_bytes, names=names)))
    assert verify(folder, str(both)) == FINE
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert first == f"VERIFIED: the document inside {both}"
    assert second.split() == ["inside", "report.pdf,", f"{len(shown.document)}", "bytes"]
    assert third.split() == ["SHA-256", hashlib.sha256(shown.document).hexdigest()]
    assert verify(folder, str(both), is_anchor_only=True) == FINE
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"ANCHOR VERIFIED ONLY: the document inside {both}; neither consent")


def test_a_program_reads_what_is_inside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = honest()
    both, report = folder / "both.zip", folder / "report.pdf"
    assert verify(folder, str(both), "--json") == FINE
    assert json.loads(capsys.readouterr().out)["inside"] == {
        "name": "x.pdf",
        "size": len(shown.document),
        "sha256": hashlib.sha256(shown.document).hexdigest(),
        "written": None,
    }
    assert verify(folder, str(report), "--proof", str(folder / "the-proof"), "--json") == FINE
    assert "inside" not in json.loads(capsys.readouterr().out)
    both.write_bytes(bundle(b"other"))
    assert verify(folder, str(both), "--json") == NO
    refused = json.loads(capsys.readouterr().out)
    assert (refused["code"], refused["inside"]["name"]) == ("document-altered", "x.pdf")


def test_a_refusal_says_that_it_is_about_the_document_inside(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = folder / "both.zip"
    both.write_bytes(bundle(b"other"))
    assert verify(folder, str(both)) == NO
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"REFUSED: document-altered (the document inside {both})"
    assert "x.pdf" in second


def test_a_zip_with_a_proof_of_its_own_is_a_document_and_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = folder / "both.zip"
    assert verify(folder, str(both), "--proof", str(folder / "the-proof")) == NO
    assert capsys.readouterr().out.startswith("REFUSED: document-altered\n")
    shutil.copy(folder / "the-proof", folder / "both.zip.proof")
    assert verify(folder, str(both)) == NO
    said = capsys.readouterr().out
    assert said.startswith("REFUSED: document-altered\n")
    assert f"{both} itself, for {both}.proof stands beside it" in said
    assert verify(folder, str(both), "--bundle") == FINE
    both.write_bytes(honest().document)
    assert verify(folder, str(both)) == FINE
    said = capsys.readouterr().out
    assert "VERIFIED\n" in said and f"{both} itself" in said


def test_two_files_named_the_wrong_way_round_are_refused_with_a_cure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(folder, str(folder / "the-proof"), "--proof", str(folder / "report.pdf")) == NO
    said = capsys.readouterr().out
    assert said.startswith("REFUSED: files-exchanged\n") and "other way round" in said and "對調" in said


def test_a_document_may_be_piped_in(folder: Path) -> None:
    out, into = os.pipe()
    with os.fdopen(into, "wb") as end:
        end.write(honest().document)
    try:
        assert verify(folder, f"/dev/fd/{out}", "--proof", str(folder / "the-proof")) == FINE
    finally:
        os.close(out)


def test_a_pipe_that_was_not_piped_in_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe")
    assert verify(folder, str(folder / "pipe"), "--proof", str(folder / "the-proof")) == USAGE
    assert "found:    a named pipe" in capsys.readouterr().err
    (folder / "report.pdf.proof").symlink_to("the-proof")
    assert verify(folder, str(folder / "report.pdf")) == USAGE
    assert "found:    a link" in capsys.readouterr().err


# -- writing it out --------------------------------------------------------------------------------------


def test_what_verified_is_written_out_byte_for_byte_for_its_reader_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out.pdf"
    assert verify(folder, str(folder / "both.zip"), "--extract", str(out)) == FINE
    assert out.read_bytes() == honest().document
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert f"{out}" in capsys.readouterr().out
    other = folder / "other.pdf"
    assert verify(folder, str(folder / "both.zip"), "--extract", str(other), "--json") == FINE
    assert json.loads(capsys.readouterr().out)["inside"]["written"] == str(other)


def test_nothing_is_written_over_another_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "target").write_bytes(b"kept")
    (folder / "link").symlink_to(folder / "target")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "both.zip.copy").write_bytes(bundle())
    os.mkfifo(folder / "pipe")
    for name in ("target", "link", "dangling", "pipe", "report.pdf", ".", "both.zip"):
        assert verify(folder, str(folder / "both.zip"), "--extract", str(folder / name)) == USAGE
        assert "where nothing is yet" in capsys.readouterr().err
    assert (folder / "target").read_bytes() == b"kept"
    assert not (folder / "nowhere").exists()
    assert verify(folder, str(folder / "both.zip"), "--extract", str(folder / "no" / "folder")) == USAGE


def test_a_file_that_appears_while_it_is_verified_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "out.pdf"

    def late(files: FileOperations, path: Path, content: bytes | Iterable[bytes]) -> None:
        out.write_bytes(b"kept")
        create_file(files, path, content)

    monkeypatch.setattr("cli.verify.create_file", late)
    assert verify(folder, str(folder / "both.zip"), "--extract", str(out)) == USAGE
    assert out.read_bytes() == b"kept"
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_what_is_refused_is_not_written_out(folder: Path) -> None:
    before = set(folder.iterdir())
    (folder / "both.zip").write_bytes(bundle(b"other"))
    assert verify(folder, str(folder / "both.zip"), "--extract", str(folder / "out.pdf")) == NO
    (folder / "both.zip").write_bytes(bundle() + b"x")
    assert verify(folder, str(folder / "both.zip"), "--extract", str(folder / "out.pdf")) == NO
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    "more",
    [
        ["{f}/report.pdf", "--proof", "{f}/the-proof", "--bundle"],
        ["{f}/report.pdf", "--proof", "{f}/the-proof", "--extract", "{f}/out"],
        ["{f}/report.pdf", "--extract", "{f}/out"],
        ["--manifest", "{f}/in.csv", "--out", "{f}/out.csv", "--bundle"],
        ["--manifest", "{f}/in.csv", "--out", "{f}/out.csv", "--extract", "{f}/out"],
    ],
)
def test_a_call_that_means_two_things_is_usage(
    folder: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "in.csv").write_text("report.pdf\n")
    before = set(folder.iterdir())
    assert verify(folder, *(each.format(f=folder) for each in more)) == USAGE
    assert "expected:" in capsys.readouterr().err
    assert set(folder.iterdir()) == before


def test_a_name_inside_cannot_steer_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = honest()
    parts = [Part(b"re\x1b[2Jport.pdf", shown.document, flags=UTF8), Part(b"y", shown.proof_bytes)]
    (folder / "both.zip").write_bytes(zip_of(parts))
    assert verify(folder, str(folder / "both.zip")) == NO
    assert "\x1b" not in "".join(capsys.readouterr())
