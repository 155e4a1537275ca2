"""A document and its proof in one archive: which of the two is which, under which names, and what may lie beside."""

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger.bundles import BundleError, is_bundle_name, open_bundle
from ledger.proofs import PROOF_MAGIC, PROOF_SIZE_MAX
from tests.support.archives import TOOLS, UTF8, Part, folder_of, zip_of

DOCUMENT = b"SAMPLE document " * 5_000
PROOF = PROOF_MAGIC + b"proof" * 40


def archive(
    *entries: tuple[str, bytes],
    method: int = zipfile.ZIP_DEFLATED,
    edit: Callable[[zipfile.ZipInfo], None] | None = None,
) -> bytes:
    """Return an archive as Python's own library writes it."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as file:
        for name, content in entries:
            info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
            info.compress_type = method
            info.external_attr = 0o100644 << 16
            if edit is not None:
                edit(info)
            file.writestr(info, content)
    return written.getvalue()


def opened(data: bytes) -> tuple[bytes, bytes]:
    bundle = open_bundle(io.BytesIO(data))
    document = b"".join(bundle.document())
    assert bundle.size == len(document)
    return document, bundle.proof


def refusal(data: bytes) -> str:
    with pytest.raises(BundleError) as refused:
        opened(data)
    assert (refused.value.code, refused.value.step) == ("pair-malformed", "files")
    return str(refused.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("names", [("a", "b"), ("report.pdf", "report.pdf.proof"), ("报告.pdf", "報告")])
def test_the_two_are_told_apart_by_content_in_either_order(method: int, names: tuple[str, str]) -> None:
    of_document, of_proof = names
    for entries in (
        ((of_document, DOCUMENT), (of_proof, PROOF)),
        ((of_proof, PROOF), (of_document, DOCUMENT)),
    ):
        data = archive(*entries, method=method)
        assert opened(data) == (DOCUMENT, PROOF)
        assert open_bundle(io.BytesIO(data)).name == of_document


@pytest.mark.parametrize("name", ["report.pdf.proof", "report.PROOF"])
def test_a_document_that_is_named_as_a_proof_is_refused(name: str) -> None:
    assert "not named as a proof" in refusal(archive((name, DOCUMENT), ("report.pdf", PROOF)))


def test_an_empty_document_is_one() -> None:
    assert opened(archive(("a", b""), ("b", PROOF))) == (b"", PROOF)


def test_other_numbers_and_kinds_of_entries_are_refused() -> None:
    assert "entries" in refusal(archive(("a", DOCUMENT)))
    assert "entries" in refusal(archive(("a", DOCUMENT), ("b", PROOF), ("c", b"")))
    assert "none" in refusal(archive(("a", DOCUMENT), ("b", DOCUMENT)))
    assert "two" in refusal(archive(("a", PROOF), ("b", PROOF)))
    assert "entries" in refusal(archive())
    assert "entries" in refusal(zip_of([folder_of(Part(b""), "a/"), Part(b"b", PROOF)]))
    folder = lambda info: setattr(info, "external_attr", 0o040755 << 16)  # noqa: E731
    link = lambda info: setattr(info, "external_attr", 0o120777 << 16)  # noqa: E731
    for edit in (folder, link):
        assert "regular file" in refusal(archive(("a", DOCUMENT), ("b", PROOF), edit=edit))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method: int) -> None:
    refusal(archive(("a", DOCUMENT), ("b", PROOF), method=method))


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "/a",
        "//a",
        "folder/a",
        "a\\b",
        "..",
        ".",
        "a" * 256,
        "C:\\a",
        "C:x",
        "a:b",
        "-rf",
        "CON",
        "nul.pdf",
        "report.pdf.",
        "report.pdf ",
        "report\u202efdp.exe",
        "re\x1b[2Jport.pdf",
        "re\u0301port.pdf",
        "re\u200bport.pdf",
        "=HYPERLINK(1).pdf",
        ".hidden",
        "__MACOSX",
        "__macosx",
        "META-INF",
        "<script>.html",
    ],
    ids=ascii,
)
def test_a_name_that_some_system_reads_otherwise_is_refused_wherever_it_stands(name: str) -> None:
    raw = name.encode()
    for names in ((raw, b"b"), (b"a", raw)):
        parts = [
            Part(each, content, flags=UTF8) for each, content in zip(names, (DOCUMENT, PROOF), strict=True)
        ]
        refusal(zip_of(parts))
    if "/" not in name and len(raw) < 250:
        inside = [Part(raw + b"/a", DOCUMENT, flags=UTF8), Part(raw + b"/b", PROOF, flags=UTF8)]
        refusal(zip_of(inside))
        refusal(zip_of([folder_of(Part(b"", flags=UTF8), name + "/"), *inside]))
    assert opened(archive(("a" * 255, DOCUMENT), ("b", PROOF))) == (DOCUMENT, PROOF)


@pytest.mark.parametrize(
    ("name", "other"),
    [("a", "A"), ("rep0rt", "report"), ("re\u0301port", "r\u00e9port"), ("report", "REPÖRT")],
    ids=ascii,
)
def test_two_names_that_somebody_takes_for_one_are_refused(name: str, other: str) -> None:
    refusal(archive((name, DOCUMENT), (other, PROOF)))


def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = archive(("a", DOCUMENT), ("a", PROOF))
    assert "names" in refusal(data)


def test_the_two_stand_side_by_side_in_at_most_one_folder() -> None:
    document, proof = Part(b"files/a", DOCUMENT), Part(b"files/b", PROOF)
    folder = folder_of(Part(b""), "files/")
    for parts in ([document, proof], [folder, document, proof], [document, proof, folder]):
        assert opened(zip_of(parts)) == (DOCUMENT, PROOF)
    for parts in (
        [document, replace(proof, name=b"b")],
        [document, replace(proof, name=b"other/b")],
        [document, replace(proof, name=b"files/deep/b")],
        [replace(document, name=b"files/deep/a"), replace(proof, name=b"files/deep/b")],
        [folder, folder_of(Part(b""), "more/"), document, proof],
        [folder, folder_of(Part(b""), "files/deep/"), document, proof],
        [replace(document, name=b"a"), replace(proof, name=b"b"), folder],
        [replace(document, name=b"/a"), replace(proof, name=b"/b")],
        [replace(document, name=b"../a"), replace(proof, name=b"../b")],
        [folder, folder, document, proof],
    ):
        refusal(zip_of(parts))


def test_a_proof_past_its_size_is_refused() -> None:
    long = PROOF_MAGIC + random.Random(2).randbytes(PROOF_SIZE_MAX)
    assert opened(archive(("a", b"x"), ("b", long)))[1] == long
    refusal(archive(("a", b"x"), ("b", long + b"1")))


def test_what_an_office_program_writes_is_called_a_document() -> None:
    data = archive(
        ("[Content_Types].xml", b"<Types/>"), ("_rels/.rels", b"<a/>"), ("word/document.xml", b"<w/>")
    )
    assert "this is a document" in refusal(data)


def test_a_refusal_says_what_to_do_in_three_languages() -> None:
    with pytest.raises(BundleError) as refused:
        opened(archive(("a", DOCUMENT)))
    next_step = refused.value.refusal.next_step
    assert next_step.en and next_step.zh_hans and next_step.zh_hant


@pytest.mark.parametrize("tool", TOOLS)
def test_every_cut_of_an_archive_is_refused(tool: str) -> None:
    data = zip_of(TOOLS[tool].parts(b"x", PROOF, names=("a", "b")))
    for size in range(len(data)):
        refusal(data[:size])


@pytest.mark.parametrize("name", ["both.zip", "both.ZIP", "报告.Zip"])
def test_a_name_that_ends_in_zip_asks_for_a_bundle(name: str) -> None:
    assert is_bundle_name(name)


@pytest.mark.parametrize(
    "name",
    ["both", "both.zip.pdf", "zip", ".zip", "bothzip", "both.zip ", "both.zip.", "a\u202efdp.zip", "a:b.zip"],
)
def test_any_other_name_asks_for_a_document(name: str) -> None:
    assert not is_bundle_name(name)
