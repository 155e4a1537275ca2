"""A document and its proof in one archive: plain ones are read, everything clever is refused."""

import io
import os
import random
import shutil
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exits import FINE, NO
from cli.program import run
from ledger.bundles import (
    EXTRA_SIZE_MAX,
    NAME_SIZE_MAX,
    RATIO_MAX,
    RATIO_SLACK,
    READ_SIZE,
    BundleError,
    open_bundle,
)
from ledger.proofs import PROOF_MAGIC, PROOF_SIZE_MAX
from tests.attacks.forge import honest
from tests.support.consortium import LATER_MS

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


PLAIN = archive(("report.pdf", DOCUMENT), ("report.pdf.proof", PROOF))


def opened(data: bytes) -> tuple[bytes, bytes]:
    bundle = open_bundle(io.BytesIO(data))
    return b"".join(bundle.document()), bundle.proof


def refusal(data: bytes) -> str:
    with pytest.raises(BundleError) as refused:
        opened(data)
    assert (refused.value.code, refused.value.step) == ("pair-malformed", "files")
    return str(refused.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("names", [("a", "b"), ("report.pdf.proof", "report.pdf"), ("报告.pdf", "報告")])
def test_the_two_are_told_apart_by_content_whatever_their_names_and_order(
    method: int, names: tuple[str, str]
) -> None:
    for entries in (((names[0], DOCUMENT), (names[1], PROOF)), ((names[0], PROOF), (names[1], DOCUMENT))):
        assert opened(archive(*entries, method=method)) == (DOCUMENT, PROOF)


def test_an_empty_document_is_one() -> None:
    assert opened(archive(("a", b""), ("b", PROOF))) == (b"", PROOF)


def test_what_the_command_zip_writes_is_read(tmp_path: Path) -> None:
    tool = shutil.which("zip")
    if tool is None:
        pytest.skip("no zip on the path: its archives are not tried")
    import subprocess

    (tmp_path / "d").write_bytes(DOCUMENT)
    (tmp_path / "p").write_bytes(PROOF)
    subprocess.run([tool, "-q", "x.zip", "d", "p"], cwd=tmp_path, check=True, timeout=30)
    assert opened((tmp_path / "x.zip").read_bytes()) == (DOCUMENT, PROOF)


def test_other_numbers_and_kinds_of_entries_are_refused() -> None:
    assert "entries" in refusal(archive(("a", DOCUMENT)))
    assert "entries" in refusal(archive(("a", DOCUMENT), ("b", PROOF), ("c", b"")))
    assert "none" in refusal(archive(("a", DOCUMENT), ("b", DOCUMENT)))
    assert "two" in refusal(archive(("a", PROOF), ("b", PROOF)))
    assert "entries" in refusal(archive())
    folder = lambda info: setattr(info, "external_attr", 0o040755 << 16)  # noqa: E731
    link = lambda info: setattr(info, "external_attr", 0o120777 << 16)  # noqa: E731
    for edit in (folder, link):
        assert "regular file" in refusal(archive(("a", DOCUMENT), ("b", PROOF), edit=edit))


@pytest.mark.parametrize(
    "name", ["../a", "/a", "folder/a", "a\\b", "..", ".", "a" * (NAME_SIZE_MAX + 1), "C:\\a"]
)
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    assert "name" in refusal(archive((name, DOCUMENT), ("b", PROOF)))
    assert opened(archive(("a" * NAME_SIZE_MAX, DOCUMENT), ("b", PROOF))) == (DOCUMENT, PROOF)


def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = archive(("a", DOCUMENT), ("a", PROOF))
    assert "names" in refusal(data)
    assert "names" in refusal(archive(("A", DOCUMENT), ("a", PROOF)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method: int) -> None:
    refusal(archive(("a", DOCUMENT), ("b", PROOF), method=method))


def test_what_stands_before_between_or_after_is_refused() -> None:
    refusal(b"x" + PLAIN)
    refusal(PLAIN + b"x")
    commented = bytearray(PLAIN)
    commented[-2:] = struct.pack("<H", 1)
    refusal(bytes(commented) + b"x")
    directory = PLAIN.index(b"PK\x01\x02")
    refusal(PLAIN[:directory] + b"gap" + PLAIN[directory:])
    for cut in (0, 1, 21, 22, len(PLAIN) // 2, len(PLAIN) - 1):
        refusal(PLAIN[:cut])
    refusal(PLAIN + PLAIN)


# Where a header may say what it likes: versions below the limit, times, attributes of a regular file.
LOCAL_FREE = {4, 5, 10, 11, 12, 13}
CENTRAL_FREE = {4, 5, 6, 7, 12, 13, 14, 15, 36, 37, 38, 39, 40, 41}


def test_every_bit_of_the_headers_is_checked_or_says_nothing() -> None:
    directory = PLAIN.index(b"PK\x01\x02")
    second = PLAIN.index(b"PK\x01\x02", directory + 1)
    local_second = PLAIN.index(b"PK\x03\x04", 1)
    free = {start + at for start in (0, local_second) for at in LOCAL_FREE}
    free |= {start + at for start in (directory, second) for at in CENTRAL_FREE}
    headers = [*range(40), *range(local_second, local_second + 46), *range(directory, len(PLAIN))]
    for place in headers:
        for bit in range(8):
            altered = bytearray(PLAIN)
            altered[place] ^= 1 << bit
            try:
                assert opened(bytes(altered)) == (DOCUMENT, PROOF)
            except BundleError:
                continue
            assert place in free, place


def test_encryption_descriptors_and_wide_sizes_are_refused() -> None:
    directory = PLAIN.index(b"PK\x01\x02")
    for flag in (1, 1 << 3, 1 << 5, 1 << 6, 1 << 13):
        altered = bytearray(PLAIN)
        altered[6:8] = altered[directory + 8 : directory + 10] = struct.pack("<H", flag)
        refusal(bytes(altered))
    wide = io.BytesIO()
    with zipfile.ZipFile(wide, "w") as file:
        with file.open("a", "w", force_zip64=True) as entry:
            entry.write(DOCUMENT)
        file.writestr("b", PROOF)
    refusal(wide.getvalue())

    class Unseekable(io.BytesIO):
        """What makes the library write descriptors."""

        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    streamed = Unseekable()
    with zipfile.ZipFile(streamed, "w") as file:
        file.writestr("a", DOCUMENT)
        file.writestr("b", PROOF)
    refusal(streamed.getvalue())


def forged(
    packed: bytes,
    *,
    size: int,
    checksum: int,
    method: int = 8,
    extra: bytes = b"",
    claimed: int | None = None,
) -> bytes:
    """Return an archive written by hand: a document of which anything may be claimed, and an honest proof."""
    data, central = b"", b""
    parts = [
        (b"a", method, packed, size, checksum, extra),
        (b"b", 0, PROOF, len(PROOF), zlib.crc32(PROOF), b""),
    ]
    for name, kind, content, whole, crc, more in parts:
        start = len(data)
        length = len(content) if claimed is None or name == b"b" else claimed
        fields = (20, 0, kind, 0, 0, crc, length, whole, len(name), len(more))
        data += struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + name + more + content
        central += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, *fields, 0, 0, 0, 0, start) + name + more
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(central), len(data), 0)
    return data + central + end


def with_directory(edit: Callable[[bytes], bytes], data: bytes = PLAIN) -> bytes:
    """Return an archive whose directory is edited and whose end record agrees with it."""
    start = data.index(b"PK\x01\x02")
    directory = edit(data[start:-22])
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), start, 0)
    return data[:start] + directory + end


def test_each_check_of_the_directory_has_its_reason() -> None:
    def commented(directory: bytes) -> bytes:
        return directory[:32] + struct.pack("<H", 5_000) + directory[34:] + b"c" * 5_000

    def with_extra(directory: bytes) -> bytes:
        size = 46 + len("report.pdf")
        extra = struct.pack("<HH", 0xCAFE, 0)
        return directory[:30] + struct.pack("<H", 4) + directory[32:size] + extra + directory[size:]

    def wide(directory: bytes) -> bytes:
        return directory[:24] + b"\xff" * 4 + directory[28:]

    def short_comment(directory: bytes) -> bytes:
        second = directory.index(b"PK", 4)
        return directory[:32] + b"\1\0" + directory[34:second] + b"c" + directory[second:]

    assert opened(with_directory(bytes)) == (DOCUMENT, PROOF)
    for edit, reason in (
        (commented, "directory: expected at most"),
        (lambda directory: directory + b"xx", "nothing more"),
        (lambda directory: directory[:40], "two entries"),
        (with_extra, "times and owners only"),
        (wide, "ZIP64"),
        (short_comment, "no comment"),
    ):
        assert reason in refusal(with_directory(edit)), reason
    stored = archive(("a", DOCUMENT), ("b", PROOF), method=zipfile.ZIP_STORED)
    longer = with_directory(lambda directory: directory[:24] + b"\1\0\0\0" + directory[28:], stored)
    assert "stored entry" in refusal(longer)


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def test_sizes_and_checksums_that_lie_are_refused() -> None:
    packed, checksum = deflate(DOCUMENT), zlib.crc32(DOCUMENT)
    size = len(DOCUMENT)
    assert opened(forged(packed, size=size, checksum=checksum)) == (DOCUMENT, PROOF)
    refusal(forged(packed, size=size - 1, checksum=checksum))
    refusal(forged(packed, size=size + 1, checksum=checksum))
    refusal(forged(packed, size=size, checksum=checksum ^ 1))
    refusal(forged(packed + b"x", size=size, checksum=checksum))
    refusal(forged(packed + deflate(b"more"), size=size, checksum=checksum))
    refusal(forged(packed[:-1], size=size, checksum=checksum))
    refusal(forged(b"\xff" * 40, size=40, checksum=checksum))
    refusal(forged(packed, size=size, checksum=checksum, claimed=len(packed) + 1))
    refusal(forged(DOCUMENT, size=size + 1, checksum=checksum, method=0))
    assert opened(forged(DOCUMENT, size=size, checksum=checksum, method=0)) == (DOCUMENT, PROOF)


def test_a_document_larger_than_one_reading_is_whole() -> None:
    block = random.Random(5).randbytes(8 * 1024)
    for document in (block * 640, random.Random(6).randbytes(700_000)):
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            bundle = open_bundle(io.BytesIO(archive(("a", document), ("b", PROOF), method=method)))
            pieces = list(bundle.document())
            assert b"".join(pieces) == document and max(map(len, pieces)) <= READ_SIZE


def test_bytes_after_the_end_of_what_is_deflated_are_refused_wherever_reading_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed, size, checksum = deflate(DOCUMENT), len(DOCUMENT), zlib.crc32(DOCUMENT)
    for reading in (len(packed), len(packed) + 1, len(packed) - 1):
        monkeypatch.setattr("ledger.bundles.READ_SIZE", reading)
        assert opened(forged(packed, size=size, checksum=checksum)) == (DOCUMENT, PROOF)
        refusal(forged(packed + b"x", size=size, checksum=checksum))


def test_noise_deep_in_what_is_deflated_is_refused() -> None:
    document = random.Random(7).randbytes(20_000)
    packed = bytearray(zlib.compress(document + b"text " * 4_000, 9)[2:-4])
    packed[-40:-20] = b"\xff" * 20
    refusal(forged(bytes(packed), size=40_000, checksum=zlib.crc32(document)))


def test_an_extra_field_in_one_header_alone_is_checked_too() -> None:
    packed, size, checksum = deflate(DOCUMENT), len(DOCUMENT), zlib.crc32(DOCUMENT)
    extra = struct.pack("<HH", 0xCAFE, 0)
    data = forged(packed, size=size, checksum=checksum, extra=extra)
    directory = data.index(b"PK\x01\x02")

    def without(directory: bytes) -> bytes:
        return directory[:30] + b"\0\0" + directory[32:47] + directory[51:]

    assert data[directory + 47 : directory + 51] == extra
    assert "times and owners only" in refusal(with_directory(without, data))


def test_a_bomb_is_refused_before_it_is_unpacked_and_the_largest_ratio_passes() -> None:
    bomb = bytes(64 * 1024 * 1024)
    packed = deflate(bomb)
    assert "times its packed size" in refusal(forged(packed, size=len(bomb), checksum=zlib.crc32(bomb)))
    # A lie about the size does not help: unpacking stops right after what was claimed.
    claimed = RATIO_MAX * len(packed)
    bundle = open_bundle(io.BytesIO(forged(packed, size=claimed, checksum=0)))
    taken = 0
    with pytest.raises(BundleError):
        for piece in bundle.document():
            taken += len(piece)
    assert taken <= claimed
    dense = deflate(bytes(1024))
    allowed = RATIO_MAX * len(dense) + RATIO_SLACK
    content = random.Random(1).randbytes(512) + bytes(allowed)
    refusal(forged(dense, size=allowed + 1, checksum=0))
    assert opened(archive(("a", content[:9_000]), ("b", PROOF)))[0] == content[:9_000]


def test_extra_fields_may_say_times_and_owners_and_nothing_else() -> None:
    packed, checksum, size = deflate(DOCUMENT), zlib.crc32(DOCUMENT), len(DOCUMENT)

    def with_extra(extra: bytes) -> bytes:
        return forged(packed, size=size, checksum=checksum, extra=extra)

    for kind in (0x5455, 0x7875, 0x000A):
        assert opened(with_extra(struct.pack("<HH", kind, 4) + b"time"))[0] == DOCUMENT
    for kind in (0x0001, 0x7075, 0x9901, 0x6375, 0xCAFE):
        refusal(with_extra(struct.pack("<HH", kind, 4) + b"time"))
    refusal(with_extra(b"UT"))
    refusal(with_extra(struct.pack("<HH", 0x5455, 5) + b"time"))
    most = struct.pack("<HH", 0x5455, EXTRA_SIZE_MAX - 4) + bytes(EXTRA_SIZE_MAX - 4)
    assert opened(with_extra(most))[0] == DOCUMENT
    refusal(with_extra(struct.pack("<HH", 0x5455, EXTRA_SIZE_MAX - 3) + bytes(EXTRA_SIZE_MAX - 3)))


def test_a_proof_past_its_size_is_refused() -> None:
    long = PROOF_MAGIC + random.Random(2).randbytes(PROOF_SIZE_MAX)
    assert opened(archive(("a", b"x"), ("b", long)))[1] == long
    refusal(archive(("a", b"x"), ("b", long + b"1")))


def test_arbitrary_changes_let_out_only_the_declared_error() -> None:
    dice = random.Random(3)
    for _ in range(400):
        altered = bytearray(PLAIN)
        for _ in range(dice.randint(1, 4)):
            altered[dice.randrange(len(altered))] = dice.randrange(256)
        try:
            document, proof = opened(bytes(altered))
        except BundleError:
            continue
        assert (document, proof) == (DOCUMENT, PROOF)


# -- the command ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's clock stands after the story: `--at` asks about a past time."""
    monkeypatch.setattr("cli.verify.now_ms", lambda: LATER_MS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import json

    from ledger.trust import trusted_root_to_json

    shown = honest()
    (tmp_path / "trust.json").write_text(json.dumps(trusted_root_to_json(shown.trust)))
    (tmp_path / "request").write_bytes(shown.request.encode())
    (tmp_path / "both.zip").write_bytes(archive(("x", shown.document), ("y", shown.proof_bytes)))
    (tmp_path / "report.pdf").write_bytes(shown.document)
    (tmp_path / "the-proof").write_bytes(shown.proof_bytes)
    return tmp_path


def verify(folder: Path, *more: str) -> int:
    from cli.times import show_time
    from tests.attacks.forge import NOW_MS

    at = show_time(NOW_MS).replace(" UTC+8", "")
    named = ["--trust", str(folder / "trust.json"), "--request", str(folder / "request"), "--at", at]
    return run(["verify", *more, *named])


def test_an_archive_of_both_is_verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = str(folder / "both.zip")
    assert verify(folder, both) == FINE
    assert capsys.readouterr().out.startswith("VERIFIED\n")
    data = (folder / "both.zip").read_bytes()
    (folder / "both.zip").write_bytes(data + b"x")
    assert verify(folder, both) == NO
    assert capsys.readouterr().out.startswith("REFUSED: pair-malformed\n")
    shown = honest()
    (folder / "both.zip").write_bytes(archive(("x", shown.document + b"!"), ("y", shown.proof_bytes)))
    assert verify(folder, both) == NO
    assert capsys.readouterr().out.startswith("REFUSED: document-altered\n")


def test_an_archive_that_has_a_proof_of_its_own_is_a_document(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = folder / "both.zip"
    assert verify(folder, str(both), "--proof", str(folder / "the-proof")) == NO
    assert capsys.readouterr().out.startswith("REFUSED: document-altered\n")
    shutil.copy(folder / "the-proof", folder / "both.zip.proof")
    assert verify(folder, str(both)) == NO
    assert capsys.readouterr().out.startswith("REFUSED: document-altered\n")


def test_two_files_named_the_wrong_way_round_are_matched_by_content(folder: Path) -> None:
    assert verify(folder, str(folder / "the-proof"), "--proof", str(folder / "report.pdf")) == FINE


def test_a_document_may_come_through_a_pipe(folder: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(honest().document,))
    writer.start()
    assert verify(folder, str(pipe), "--proof", str(folder / "the-proof")) == FINE
    writer.join(10)
