"""Which file is the proof: one answer for each way in which the two are presented; no content has a say."""

import hashlib
import io
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from ledger.bundles import BundleError
from ledger.proofs import PROOF_FILE_SIZE_MAX, PROOF_MAGIC
from node.recipient.presented import (
    FilesExchanged,
    PartsError,
    PresentedFiles,
    proof_beside,
    tell_files,
    tell_parts,
)
from tests.ledger.test_bundles import archive

DOCUMENT = b"%PDF-1.7 a report"
PROOF = PROOF_MAGIC + b"\x9a"
BOTH = archive(("a", DOCUMENT), ("b", PROOF))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "report.pdf").write_bytes(DOCUMENT)
    (tmp_path / "report.pdf.proof").write_bytes(PROOF)
    (tmp_path / "named").write_bytes(PROOF)
    (tmp_path / "both.zip").write_bytes(BOTH)
    (tmp_path / "both.pdf").write_bytes(BOTH)
    (tmp_path / "report.docx").write_bytes(BOTH)
    (tmp_path / "report.docx.proof").write_bytes(PROOF)
    (tmp_path / "archive.zip").write_bytes(BOTH)
    (tmp_path / "archive.zip.proof").write_bytes(PROOF)
    return tmp_path


def told(
    folder: Path, document: str, proof: str | None, *, as_bundle: bool = False
) -> tuple[str, str | None]:
    named = None if proof is None else folder / proof
    files = tell_files(folder / document, named, as_bundle=as_bundle)
    return files.document.name, None if files.proof is None else files.proof.name


@pytest.mark.parametrize(
    ("document", "proof", "expected"),
    [
        ("report.pdf", None, "report.pdf.proof"),
        ("report.pdf", "named", "named"),
        ("named", "report.pdf", "report.pdf"),
        ("both.zip", None, None),
        ("both.zip", "named", "named"),
        ("both.pdf", None, "both.pdf.proof"),
        ("report.docx", None, "report.docx.proof"),
        ("archive.zip", None, "archive.zip.proof"),
        ("named", "report.pdf.proof", "report.pdf.proof"),
        ("report.pdf", "both.zip", "both.zip"),
        ("report.pdf", "missing", "missing"),
        ("missing", None, "missing.proof"),
        ("missing.zip", None, None),
    ],
)
def test_each_way_in_has_one_answer_by_names_alone(
    folder: Path, document: str, proof: str | None, expected: str | None
) -> None:
    assert told(folder, document, proof) == (document, expected)


@pytest.mark.parametrize("document", ["both.pdf", "both.zip", "archive.zip", "report.docx", "report.pdf"])
def test_a_word_of_the_caller_asks_for_a_bundle_whatever_the_name(folder: Path, document: str) -> None:
    assert told(folder, document, None, as_bundle=True) == (document, None)


@pytest.mark.parametrize("content", [BOTH, PROOF, DOCUMENT, b"", b"PK\x03\x04"])
def test_no_content_changes_what_a_file_is(folder: Path, content: bytes) -> None:
    for name in ("report.pdf", "archive.zip", "both.pdf", "both.zip"):
        before = [told(folder, name, proof) for proof in (None, "named")]
        (folder / name).write_bytes(content)
        assert [told(folder, name, proof) for proof in (None, "named")] == before


def test_a_zip_with_anything_beside_it_is_a_document_even_a_link_that_leads_nowhere(folder: Path) -> None:
    (folder / "both.zip.proof").symlink_to(folder / "nowhere")
    assert told(folder, "both.zip", None) == ("both.zip", "both.zip.proof")


def test_a_pipe_is_what_it_was_named_as_and_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert told(folder, "pipe", "named") == ("pipe", "named")
    assert told(folder, "pipe", None) == ("pipe", "pipe.proof")


def test_a_name_that_no_file_can_have_is_left_to_its_reader(folder: Path) -> None:
    assert told(folder, "a\0b", None) == ("a\0b", "a\0b.proof")
    assert proof_beside(Path("/")) == Path("/")


def content_of(files: PresentedFiles) -> tuple[bytes, bytes]:
    with files.opened(lambda path: path.open("rb")) as opened:
        return b"".join(opened.pieces()), opened.proof


def test_both_ways_open_as_the_same_two(folder: Path) -> None:
    assert content_of(tell_files(folder / "both.zip", None)) == (DOCUMENT, PROOF)
    assert content_of(tell_files(folder / "both.pdf", None, as_bundle=True)) == (DOCUMENT, PROOF)
    assert content_of(tell_files(folder / "report.pdf", None)) == (DOCUMENT, PROOF)
    assert content_of(tell_files(folder / "report.docx", None)) == (BOTH, PROOF)


def test_what_is_no_bundle_is_refused_as_one(folder: Path) -> None:
    (folder / "both.zip").write_bytes(b"PK\x03\x04 an office file")
    with pytest.raises(BundleError):
        content_of(tell_files(folder / "both.zip", None))


def test_the_document_inside_has_a_name_and_a_digest_once_it_was_read(folder: Path) -> None:
    with tell_files(folder / "both.zip", None).opened(lambda path: path.open("rb")) as opened:
        inside = opened.inside
        assert inside is not None
        assert inside.to_json() == {"name": "a", "size": len(DOCUMENT), "sha256": None}
        assert b"".join(opened.pieces()) == DOCUMENT
        assert inside.to_json()["sha256"] == hashlib.sha256(DOCUMENT).hexdigest()
        assert b"".join(inside.again()) == DOCUMENT


def test_a_document_that_is_another_at_the_second_reading_is_refused(folder: Path) -> None:
    content = io.BytesIO(BOTH)
    with PresentedFiles(folder / "both.zip", None).opened(lambda _: content) as opened:
        assert opened.inside is not None
        assert b"".join(opened.pieces()) == DOCUMENT
        altered = archive(("a", DOCUMENT[::-1]), ("b", PROOF))
        assert len(altered) == len(BOTH)
        content.seek(0)
        content.write(altered)
        with pytest.raises(BundleError):
            list(opened.inside.again())


@pytest.mark.parametrize("document", [PROOF, PROOF_MAGIC, PROOF_MAGIC + bytes(100)])
def test_two_files_that_look_exchanged_are_refused_and_never_exchanged(folder: Path, document: bytes) -> None:
    (folder / "report.pdf").write_bytes(document)
    for proof in (DOCUMENT, b"", PROOF_MAGIC[:-2]):
        (folder / "named").write_bytes(proof)
        with pytest.raises(FilesExchanged) as refused:
            content_of(tell_files(folder / "report.pdf", folder / "named"))
        assert (refused.value.code, refused.value.step) == ("files-exchanged", "files")
        next_step = refused.value.refusal.next_step
        assert next_step.en and next_step.zh_hans and next_step.zh_hant


def test_files_of_which_either_could_be_what_it_is_named_as_are_not_called_exchanged(folder: Path) -> None:
    (folder / "report.pdf").write_bytes(PROOF)
    assert content_of(tell_files(folder / "report.pdf", folder / "named")) == (PROOF, PROOF)
    (folder / "named").write_bytes(DOCUMENT)
    (folder / "report.pdf").write_bytes(DOCUMENT)
    assert content_of(tell_files(folder / "report.pdf", folder / "named")) == (DOCUMENT, DOCUMENT)


def test_a_document_that_can_be_read_once_alone_is_read_once(folder: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, PROOF)
    os.close(writer)
    (folder / "named").write_bytes(DOCUMENT)

    def open_file(path: Path) -> BinaryIO:
        return os.fdopen(reader, "rb") if path.name == "pipe" else path.open("rb")

    with PresentedFiles(folder / "pipe", folder / "named").opened(open_file) as opened:
        assert (b"".join(opened.pieces()), opened.proof) == (PROOF, DOCUMENT)


def test_a_proof_is_read_one_byte_past_its_limit_and_no_more(folder: Path) -> None:
    (folder / "named").write_bytes(PROOF_MAGIC.ljust(PROOF_FILE_SIZE_MAX + 9, b"\0"))
    files = PresentedFiles(folder / "report.pdf", folder / "named")
    assert len(content_of(files)[1]) == PROOF_FILE_SIZE_MAX + 1


def test_the_names_of_parts_decide_in_a_form() -> None:
    assert tell_parts({"document", "proof", "request"}) is False
    assert tell_parts({"pair", "at_ms"}) is True


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({"document"}, "document"),
        ({"proof"}, "proof"),
        ({"pair", "proof"}, "pair, proof"),
        ({"document", "proof", "pair"}, "document, pair, proof"),
        ({"request"}, "none of them"),
    ],
)
def test_other_parts_are_refused(names: set[str], found: str) -> None:
    with pytest.raises(PartsError, match=f"^{found}$"):
        tell_parts(names)
