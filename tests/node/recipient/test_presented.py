"""Which file is the proof: one answer for every way in which document and proof are presented."""

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import pytest

from ledger.bundles import ARCHIVE_MAGIC, BundleError
from ledger.proofs import PROOF_MAGIC
from ledger.verifier import Document
from node.recipient.presented import (
    PROOF_FILE_SIZE_MAX,
    PartsError,
    PresentedFiles,
    proof_beside,
    tell_files,
    tell_parts,
)
from tests.ledger.test_bundles import archive

DOCUMENT = b"%PDF-1.7 a report"
PROOF = PROOF_MAGIC + b"\x9a"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "report.pdf").write_bytes(DOCUMENT)
    (tmp_path / "report.pdf.proof").write_bytes(PROOF)
    (tmp_path / "named").write_bytes(PROOF)
    (tmp_path / "both.zip").write_bytes(archive(("a", DOCUMENT), ("b", PROOF)))
    (tmp_path / "report.docx").write_bytes(ARCHIVE_MAGIC + b"an office file")
    (tmp_path / "report.docx.proof").write_bytes(PROOF)
    return tmp_path


def told(folder: Path, document: str, proof: str | None) -> tuple[str, str | None]:
    files = tell_files(folder / document, None if proof is None else folder / proof)
    return files.document.name, None if files.proof is None else files.proof.name


@pytest.mark.parametrize(
    ("document", "proof", "expected"),
    [
        ("report.pdf", None, ("report.pdf", "report.pdf.proof")),
        ("report.pdf", "named", ("report.pdf", "named")),
        ("named", "report.pdf", ("report.pdf", "named")),
        ("both.zip", None, ("both.zip", None)),
        ("both.zip", "named", ("both.zip", "named")),
        ("named", "both.zip", ("both.zip", "named")),
        ("report.docx", None, ("report.docx", "report.docx.proof")),
        ("named", "report.pdf.proof", ("named", "report.pdf.proof")),
        ("report.pdf", "both.zip", ("report.pdf", "both.zip")),
        ("report.pdf", "missing", ("report.pdf", "missing")),
        ("missing", None, ("missing", "missing.proof")),
    ],
)
def test_each_way_in_has_one_answer(
    folder: Path, document: str, proof: str | None, expected: tuple[str, str | None]
) -> None:
    assert told(folder, document, proof) == expected


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
    with files.opened(lambda path: path.open("rb")) as (document, proof):
        return (
            document.read() if isinstance(document, BufferedReader) else b"".join(pieces_of(document)),
            proof,
        )


def pieces_of(document: Document) -> Iterator[bytes]:
    assert isinstance(document, Iterator)
    return document


def test_both_ways_open_as_the_same_two(folder: Path) -> None:
    assert content_of(PresentedFiles(folder / "both.zip", None)) == (DOCUMENT, PROOF)
    assert content_of(tell_files(folder / "report.pdf", None)) == (DOCUMENT, PROOF)


def test_what_is_no_bundle_is_refused_as_one(folder: Path) -> None:
    (folder / "report.docx.proof").unlink()
    files = tell_files(folder / "report.docx", None)
    assert files.proof is None
    with pytest.raises(BundleError):
        content_of(files)


def test_a_proof_is_read_one_byte_past_its_limit_and_no_more(folder: Path) -> None:
    (folder / "named").write_bytes(PROOF_MAGIC.ljust(PROOF_FILE_SIZE_MAX + 9, b"\0"))
    assert (
        len(content_of(PresentedFiles(folder / "report.pdf", folder / "named"))[1]) == PROOF_FILE_SIZE_MAX + 1
    )


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
