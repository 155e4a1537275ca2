"""ZIP files of which every byte is accounted for: what the tools write is read, as others read it; nothing else is."""

import io
import random
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.archives import (
    ENTRIES_COUNT_MAX,
    RATIO_MAX,
    RATIO_SLACK,
    READ_SIZE,
    BundleError,
    Entry,
    read_entries,
    unpack,
)
from ledger.bundles import open_bundle
from ledger.proofs import PROOF_MAGIC
from tests.support.archives import (
    APPLE_DOUBLE,
    DEFLATED,
    DESCRIBED,
    JAR,
    MANIFEST,
    NTFS,
    NTFS_TIME,
    OLD_UNIX,
    OLD_UNIX_SHORT,
    OWNERS,
    STORED,
    TIMES_3,
    TIMES_3_SHORT,
    TIMES_7,
    TOOLS,
    UTF8,
    Part,
    deflate,
    extra,
    folder_of,
    zip_of,
)

DOCUMENT = b"SAMPLE document " * 40
PROOF = PROOF_MAGIC + b"proof" * 8
NAMES = ("report.pdf", "report.pdf.proof")
Read = tuple[str, bytes, bytes]


def made(tool: str, *, names: tuple[str, str] = NAMES, folder: str = "") -> list[Part]:
    return TOOLS[tool].parts(DOCUMENT, PROOF, names=names, folder=folder)


def read(data: bytes) -> Read:
    bundle = open_bundle(io.BytesIO(data))
    return bundle.name, b"".join(bundle.document()), bundle.proof


HONEST: Read = ("report.pdf", DOCUMENT, PROOF)


def refusal(data: bytes) -> str:
    with pytest.raises(BundleError) as refused:
        read(data)
    assert (refused.value.code, refused.value.step) == ("pair-malformed", "files")
    return str(refused.value)


def changed(tool: str, at: int = -1, **fields: object) -> bytes:
    """Return an archive in which one entry, by default the last, is otherwise than the tool writes it."""
    return altered_by(tool, fields, at)


def altered_by(tool: str, fields: Mapping[str, object], at: int = -1) -> bytes:
    parts = made(tool)
    parts[at] = replace(parts[at], **fields)  # type: ignore[arg-type]
    return zip_of(parts)


# -- what the tools write --------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "files", "文件"])
@pytest.mark.parametrize("tool", TOOLS)
def test_what_each_tool_writes_is_read(tool: str, folder: str) -> None:
    needs_flag = not folder.isascii() and TOOLS[tool].file.made_by >> 8 == 0
    parts = made(tool, folder=folder)
    if needs_flag:
        parts = [replace(part, flags=part.flags | UTF8) for part in parts]
    assert read(zip_of(parts)) == HONEST


def test_what_python_writes_is_read_as_it_comes_too() -> None:
    class Unseekable(io.BytesIO):
        """What makes the library write descriptors."""

        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    for kind in (io.BytesIO, Unseekable):
        written = kind()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(NAMES[0], DOCUMENT)
            file.writestr(NAMES[1], PROOF)
        assert read(written.getvalue()) == HONEST
    streamed = Unseekable()
    with zipfile.ZipFile(streamed, "w", zipfile.ZIP_STORED) as file:
        file.writestr(NAMES[0], DOCUMENT)
        file.writestr(NAMES[1], PROOF)
    assert "says its size" in refusal(streamed.getvalue())


@pytest.mark.parametrize("names", [NAMES, ("報告.pdf", "報告.pdf.proof")])
@pytest.mark.parametrize(
    "command", [["zip", "-q"], ["zip", "-q", "-X"], ["zip", "-q", "-9"], ["zip", "-q", "-0"]]
)
def test_what_zip_writes_is_read(tmp_path: Path, command: list[str], names: tuple[str, str]) -> None:
    if shutil.which("zip") is None:
        pytest.skip("no zip on the path: its archives are not tried")
    for where in (tmp_path, tmp_path / "files"):
        where.mkdir(exist_ok=True)
        for name, content in zip(names, (DOCUMENT, PROOF), strict=True):
            (where / name).write_bytes(content)
    for out, packed in (("two.zip", list(names)), ("folder.zip", ["-r", "files"])):
        subprocess.run([*command, out, *packed], cwd=tmp_path, check=True, timeout=30)
        assert read((tmp_path / out).read_bytes()) == (names[0], DOCUMENT, PROOF)


@pytest.mark.parametrize("options", ["cf", "cMf", "c0f", "cM0f"])
def test_what_jar_writes_is_read(tmp_path: Path, options: str) -> None:
    if shutil.which("jar") is None:
        pytest.skip("no jar on the path: its archives are not tried")
    for name, content in zip(NAMES, (DOCUMENT, PROOF), strict=True):
        (tmp_path / name).write_bytes(content)
    subprocess.run(["jar", options, "x.jar", *NAMES], cwd=tmp_path, check=True, timeout=60)
    assert read((tmp_path / "x.jar").read_bytes()) == HONEST


# -- as others read it -----------------------------------------------------------------------------------


def entries_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the names, as bytes, and the contents of an archive that is taken."""
    file = io.BytesIO(data)
    return [(entry.path.encode(), b"".join(unpack(file, entry))) for entry in read_entries(file)]


def as_zipfile(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the same as Python's own library reads them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None and archive.comment == b""
        return [
            (info.orig_filename.encode("utf-8" if info.flag_bits & UTF8 else "cp437"), archive.read(info))
            for info in archive.infolist()
        ]


def as_stream(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the same as one who reads from the front does, by the local headers and descriptors alone."""
    found, at = [], 0
    while data[at : at + 4] == b"PK\x03\x04":
        _, _, flags, method, _, _, _, packed_size, _, name_size, extra_size = struct.unpack_from(
            "<4s5H3L2H", data, at
        )
        name = data[at + 30 : at + 30 + name_size]
        at += 30 + name_size + extra_size
        if method == STORED:
            content = data[at : at + packed_size]
            at += packed_size
        else:
            unpacker = zlib.decompressobj(-15)
            content = unpacker.decompress(data[at:]) + unpacker.flush()
            at = len(data) - len(unpacker.unused_data)
        if flags & DESCRIBED:
            assert data[at : at + 8] == b"PK\x07\x08" + struct.pack("<L", zlib.crc32(content))
            at += 16
        found.append((name, content))
    assert data[at : at + 4] == b"PK\x01\x02"
    return found


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("folder", ["", "files"])
def test_what_is_taken_is_read_alike_by_others(tool: str, folder: str) -> None:
    data = zip_of(made(tool, folder=folder))
    assert entries_of(data) == as_zipfile(data) == as_stream(data)


@pytest.mark.parametrize("program", ["unzip", "bsdtar"])
def test_what_is_taken_is_unpacked_alike_by_programs(tmp_path: Path, program: str) -> None:
    tool = shutil.which(program)
    if tool is None:
        pytest.skip(f"no {program} on the path: its reading is not compared")
    for number, name in enumerate(TOOLS):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "x.zip").write_bytes(zip_of(made(name)))
        command = [tool, "-q", "x.zip"] if program == "unzip" else [tool, "-xf", "x.zip"]
        subprocess.run(command, cwd=folder, check=True, timeout=30)
        assert [(folder / each).read_bytes() for each in NAMES] == [DOCUMENT, PROOF], name


@pytest.mark.slow
def test_what_is_taken_is_unpacked_alike_by_java(tmp_path: Path) -> None:
    if shutil.which("jar") is None:
        pytest.skip("no jar on the path: its reading is not compared")
    for number, name in enumerate(TOOLS):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "x.zip").write_bytes(zip_of(made(name)))
        subprocess.run(["jar", "xf", "x.zip"], cwd=folder, check=True, timeout=60)
        assert [(folder / each).read_bytes() for each in NAMES] == [DOCUMENT, PROOF], name


# -- every byte ------------------------------------------------------------------------------------------

# What may differ from archive to archive, and in how many bytes (docs/formats.md, Bundle). A change of one byte alone
# passes where it stands in one header; what stands in both is changed in both by the test below.
FREE_ALONE = {"made by", "internal", "external", "times", "owners"}
LOCAL_FIELDS = (
    ("magic", 4),
    ("version", 2),
    ("flags", 2),
    ("method", 2),
    ("time", 2),
    ("date", 2),
    ("sizes", 12),
)
CENTRAL_FIELDS = (
    ("magic", 4),
    ("made by", 2),
    *LOCAL_FIELDS[1:],
    ("lengths", 8),
    ("internal", 2),
    ("external", 4),
    ("start", 4),
)


def labels_of_extra(data: bytes) -> list[str]:
    labels: list[str] = []
    while len(labels) < len(data):
        kind, size = struct.unpack_from("<HH", data, len(labels))
        labels += ["extra head"] * 4
        match kind:
            case 0x5455:
                labels += ["times bits", *["times"] * (size - 1)]
            case 0x7875:
                labels += ["form", "form", *["owners"] * 4, "form", *["owners"] * 4]
            case 0x5855:
                labels += [*["times"] * 8, *["owners"] * (size - 8)]
            case 0x000A:
                labels += [*["form"] * 8, *["times"] * 24]
            case _:
                assert size == 0
    return labels


def labels_of(parts: Sequence[Part]) -> list[str]:
    """Return what each byte of an archive is."""
    labels: list[str] = []
    for part in parts:
        labels += [name for name, size in LOCAL_FIELDS for _ in range(size)] + ["lengths"] * 4
        labels += ["name"] * len(part.name) + labels_of_extra(part.local_extra) + ["data"] * len(part.data)
        labels += ["descriptor"] * (16 if part.flags & DESCRIBED else 0)
    for part in parts:
        labels += [name for name, size in CENTRAL_FIELDS for _ in range(size)]
        labels += ["name"] * len(part.name) + labels_of_extra(part.central_extra)
    return labels + ["end"] * 22


@pytest.mark.parametrize("tool", TOOLS)
def test_one_changed_byte_is_refused_or_changes_nothing_that_is_read(tool: str) -> None:
    parts = made(tool)
    data, labels = zip_of(parts), labels_of(parts)
    assert len(labels) == len(data) and read(data) == HONEST
    passed = set()
    for place, label in enumerate(labels):
        for bit in range(8):
            altered = bytearray(data)
            altered[place] ^= 1 << bit
            try:
                found = read(bytes(altered))
            except BundleError:
                continue
            assert found == HONEST, (place, label)
            assert entries_of(bytes(altered)) == as_zipfile(bytes(altered))
            passed.add(label)
    # Of deflated bytes those alone that unpack to the same: a document may be deflated in more than one way. Before a
    # descriptor a header may say the size: here one of 64 bytes, by one bit.
    assert passed <= FREE_ALONE | {"data"} | ({"sizes"} if tool == "jar" else set()), passed


@pytest.mark.parametrize("tool", TOOLS)
def test_bytes_that_are_put_in_or_taken_out_are_refused(tool: str) -> None:
    data = zip_of(made(tool))
    for place in range(len(data) + 1):
        for more in (b"\0", b"P", data[place : place + 1] or b"K"):
            refusal(data[:place] + more + data[place:])
        if place < len(data):
            refusal(data[:place] + data[place + 1 :])


@pytest.mark.parametrize("where", ["first", "second"])
def test_what_stands_between_is_refused_though_every_number_allows_it(where: str) -> None:
    for tool in TOOLS:
        parts = made(tool)
        at = 0 if where == "first" else -1
        parts[at] = replace(parts[at], gap=b"gap")
        refusal(zip_of(parts))
        honest = made(tool)
        refusal(zip_of(honest, prefix=b"%PDF-1.7\n"))
        refusal(b"%PDF-1.7\n" + zip_of(honest))
        refusal(zip_of(honest, before_end=b"x"))
        refusal(zip_of(honest, comment=b"x"))
        refusal(zip_of(honest) + b"x")
        refusal(zip_of(honest) + zip_of(honest))


def test_another_order_in_the_directory_is_refused() -> None:
    parts = made("python")
    data = zip_of(parts)
    start = len(parts[0].local())
    directory = parts[1].central(start) + parts[0].central(0)
    place = start + len(parts[1].local())
    assert "its header at 0" in refusal(data[:place] + directory + data[-22:])


# -- fields ----------------------------------------------------------------------------------------------

WRONG_FIELDS: dict[str, dict[str, object]] = {
    "an old version": {"version": 0},
    "a version of ZIP64": {"version": 45},
    "a version with a system in it": {"version": 0x0314},
    "made by nothing known": {"made_by": 0x0114},
    "made by version 0": {"made_by": 0x0300},
    "made by version 6.4": {"made_by": 0x0340},
    "encrypted": {"flags": 1},
    "patched": {"flags": 1 << 5},
    "strongly encrypted": {"flags": 1 << 6},
    "a flag that nobody uses": {"flags": 1 << 7},
    "a masked directory": {"flags": 1 << 13},
    "shrunk": {"method": 1},
    "deflated by 64": {"method": 9},
    "bzip2": {"method": 12},
    "second 60": {"time": 30},
    "minute 60": {"time": 60 << 5},
    "hour 24": {"time": 24 << 11},
    "month 0": {"date": 0x5C01},
    "month 13": {"date": 0x5C01 | 13 << 5},
    "day 0": {"date": 0x5C20},
    "no date, but a time": {"date": 0},
    "text in another way": {"internal": 2},
    "internal bits": {"internal": 0x100},
    "another disk": {"disk": 1},
    "a comment": {"comment": b"x"},
    "a folder by MS-DOS": {"external": 0x10},
    "a hidden file": {"external": 0x02},
    "a file of the system": {"external": 0x04},
    "a volume": {"external": 0x08},
    "a reparse point": {"external": 0x0400},
    "a folder by Unix": {"external": 0o040755 << 16},
    "a link": {"external": 0o120777 << 16},
    "a device": {"external": 0o020666 << 16},
    "a pipe": {"external": 0o010644 << 16},
    "set-uid": {"external": 0o104755 << 16},
    "sticky": {"external": 0o101644 << 16},
    "ZIP64": {"size": 0xFFFFFFFF},
    "a size that lies": {"size": len(PROOF) + 1},
    "a checksum that lies": {"checksum": 1},
    "more behind what is deflated": {"packed": deflate(PROOF) + b"x"},
    "two deflated streams": {"packed": deflate(PROOF) + deflate(b"more")},
    "deflated and cut": {"packed": deflate(PROOF)[:-1]},
    "no deflated bytes": {"packed": b"\xff" * 20},
    "far more than it needs": {"packed": b"\x00\x00\x00\xff\xff" * 40 + deflate(PROOF)},
    "a name of nothing": {"name": b""},
    "a name that is too long": {"name": b"a" * 256},
    "a name that is no UTF-8": {"name": b"r\x82sum\x82.proof"},
    "a name that is no UTF-8, though it says so": {"name": b"r\x82sum\x82.proof", "flags": UTF8},
    "an overlong slash": {"name": b"a\xc0\xafb"},
    "a name in the code page of Windows": {"name": "报告.proof".encode("gbk"), "made_by": 0x0014},
    "a name in UTF-8 that does not say so, on Windows": {"name": "报告.proof".encode(), "made_by": 0x0014},
}


@pytest.mark.parametrize("fault", WRONG_FIELDS)
def test_a_field_that_no_tool_writes_is_refused(fault: str) -> None:
    assert read(changed("python")) == HONEST
    refusal(altered_by("python", WRONG_FIELDS[fault]))
    of_document = {name: _of_document(value) for name, value in WRONG_FIELDS[fault].items()}
    refusal(altered_by("python", of_document, at=0))


def _of_document(value: object) -> object:
    return value.replace(b".proof", b".pdf") if isinstance(value, bytes) else value


RIGHT_FIELDS: dict[str, dict[str, object]] = {
    "version 1.0": {"version": 10},
    "made on Windows": {"made_by": 0x0A14},
    "made by Info-ZIP on Windows": {"made_by": 0x0B17},
    "made on macOS": {"made_by": 0x131E},
    "made by version 6.3": {"made_by": 0x033F},
    "tried hard": {"flags": 2},
    "tried little": {"flags": 4},
    "tried least": {"flags": 6},
    "UTF-8": {"flags": UTF8},
    "no time": {"time": 0, "date": 0},
    "the last time": {"time": 0xBF7D, "date": 0xFF9F},
    "text": {"internal": 1},
    "no mode": {"external": 0},
    "all may": {"external": 0o100777 << 16},
    "read only": {"external": 0x01},
    "not indexed": {"external": 0x2020},
    "stored": {"method": STORED, "version": 10},
}


@pytest.mark.parametrize("form", RIGHT_FIELDS)
def test_a_field_that_a_tool_writes_is_taken(form: str) -> None:
    data = altered_by("python", RIGHT_FIELDS[form])
    assert read(data) == HONEST
    assert entries_of(data) == as_zipfile(data) == as_stream(data)


@pytest.mark.parametrize("numbers", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (zlib.crc32(PROOF), 0, 0)])
def test_before_a_descriptor_a_header_says_nothing_or_the_size(numbers: tuple[int, int, int]) -> None:
    assert read(changed("windows 11", described=(0, 0, len(PROOF)))) == HONEST
    refusal(changed("windows 11", described=numbers))
    whole = zlib.crc32(PROOF), len(deflate(PROOF)), len(PROOF)
    refusal(changed("windows 11", described=whole))


def test_a_descriptor_has_one_form() -> None:
    checksum, packed_size, size = zlib.crc32(PROOF), len(deflate(PROOF)), len(PROOF)
    right = struct.pack("<4s3L", b"PK\x07\x08", checksum, packed_size, size)
    assert read(changed("windows 11", descriptor=right)) == HONEST
    for wrong in (
        right[4:],
        b"",
        struct.pack("<4sL2Q", b"PK\x07\x08", checksum, packed_size, size),
        struct.pack("<4s3L", b"PK\x07\x08", checksum ^ 1, packed_size, size),
        struct.pack("<4s3L", b"PK\x07\x08", checksum, packed_size + 1, size),
        struct.pack("<4s3L", b"PK\x07\x08", checksum, packed_size, size + 1),
        right + right,
    ):
        refusal(changed("windows 11", descriptor=wrong))
    # Where no flag announces it, it is a gap.
    refusal(changed("python", descriptor=right))


RIGHT_EXTRAS = {
    "none": (b"", b""),
    "Info-ZIP": (TIMES_3 + OWNERS, TIMES_3_SHORT + OWNERS),
    "Finder": (OLD_UNIX, OLD_UNIX_SHORT),
    "newer Finder": (TIMES_7 + OWNERS, TIMES_7 + OWNERS),
    "7-Zip": (b"", NTFS),
    "Go": (extra(0x5455, b"\x01time"), extra(0x5455, b"\x01time")),
    "one time of two": (extra(0x5455, b"\x02time"), b""),
}


@pytest.mark.parametrize("form", RIGHT_EXTRAS)
def test_extra_fields_as_tools_write_them_are_taken(form: str) -> None:
    local, central = RIGHT_EXTRAS[form]
    assert read(changed("python", local_extra=local, central_extra=central)) == HONEST


WRONG_EXTRAS = {
    "a piece": b"UT",
    "cut": struct.pack("<HH", 0x5455, 5) + b"\x01tim",
    "twice": TIMES_3 + TIMES_3,
    "times without bits": extra(0x5455, b"\x00"),
    "times of nothing": extra(0x5455, b""),
    "times with a bit more": extra(0x5455, b"\x09" + bytes(8)),
    "more times than bits": extra(0x5455, b"\x01" + bytes(8)),
    "a page in the times": extra(0x5455, b"<html>"),
    "owners of another version": extra(0x7875, b"\x02\x04" + bytes(4) + b"\x04" + bytes(4)),
    "owners of another size": extra(0x7875, b"\x01\x02" + bytes(2) + b"\x02" + bytes(2)),
    "owners and more": extra(0x7875, b"\x01\x04" + bytes(4) + b"\x04" + bytes(5)),
    "old times and more": extra(0x5855, bytes(13)),
    "old times, half": extra(0x5855, bytes(10)),
    "NTFS with something reserved": extra(0x000A, struct.pack("<L2H3Q", 1, 1, 24, *[NTFS_TIME] * 3)),
    "NTFS of another tag": extra(0x000A, struct.pack("<L2H3Q", 0, 2, 24, *[NTFS_TIME] * 3)),
    "NTFS of another size": extra(0x000A, struct.pack("<L2H3Q", 0, 1, 16, *[NTFS_TIME] * 3)),
    "NTFS and more": extra(0x000A, struct.pack("<L2H4Q", 0, 1, 24, *[NTFS_TIME] * 4)),
    "NTFS with times long gone": extra(0x000A, struct.pack("<L2H3Q", 0, 1, 24, NTFS_TIME, NTFS_TIME, 1)),
    "NTFS with text for times": extra(0x000A, struct.pack("<L2H", 0, 1, 24) + b"<script src=x></script> "),
    "a jar's mark with content": extra(0xCAFE, b"x"),
    "a jar's mark": JAR,
    "ZIP64": extra(0x0001, bytes(16)),
    "a name in Unicode": extra(0x7075, b"\x01" + bytes(4) + b"x"),
    "a comment in Unicode": extra(0x6375, b"\x01" + bytes(4) + b"x"),
    "encryption": extra(0x9901, bytes(7)),
    "padding": extra(0xD935, bytes(3)),
    "zeros": bytes(4),
    "too many": extra(0x5455, b"\x01" + bytes(300)),
}


@pytest.mark.parametrize("fault", WRONG_EXTRAS)
def test_any_other_extra_field_is_refused_in_either_header(fault: str) -> None:
    wrong = WRONG_EXTRAS[fault]
    refusal(changed("python", local_extra=wrong))
    refusal(changed("python", central_extra=wrong))
    refusal(changed("python", local_extra=wrong, central_extra=wrong))


@pytest.mark.parametrize(
    ("local", "central"),
    [
        (TIMES_3, extra(0x5455, b"\x03otherti8")),
        (TIMES_3, extra(0x5455, b"\x03mor8")),
        (TIMES_3, extra(0x5455, b"\x01" + TIMES_3[5:9])),
        (OWNERS, extra(0x7875, b"\x01\x04aaaa\x04bbbb")),
        (OLD_UNIX, extra(0x5855, b"otherti8")),
        (OLD_UNIX_SHORT, OLD_UNIX),
        (NTFS, extra(0x000A, struct.pack("<L2H3Q", 0, 1, 24, *[NTFS_TIME] * 3))),
    ],
)
def test_extra_fields_that_say_two_things_are_refused(local: bytes, central: bytes) -> None:
    assert "the same" in refusal(changed("python", local_extra=local, central_extra=central))


def test_a_jar_is_marked_in_its_first_entry_and_in_no_other() -> None:
    assert read(changed("python", 0, local_extra=JAR, central_extra=JAR)) == HONEST
    assert "first entry alone" in refusal(changed("python", 1, local_extra=JAR, central_extra=JAR))


def test_more_entries_than_any_tool_adds_are_refused() -> None:
    many = [Part(b"%d" % number, b"x") for number in range(ENTRIES_COUNT_MAX + 1)]
    assert len(read_entries(io.BytesIO(zip_of(many[:-1])))) == ENTRIES_COUNT_MAX
    assert f"1 to {ENTRIES_COUNT_MAX} entries" in refusal(zip_of(many))
    assert "entries" in refusal(zip_of([]))


def test_a_folder_holds_nothing_by_itself() -> None:
    wrong: list[dict[str, object]] = [
        {"content": b"x"},
        {"content": b"x", "method": DEFLATED},
        {"packed": b"\x01\x00\x00\xff\xff", "method": DEFLATED, "version": 20},
        {"checksum": 1},
        {"external": 0o100644 << 16},
    ]
    for fields in wrong:
        folder = replace(folder_of(Part(b""), "files/"), **fields)  # type: ignore[arg-type]
        parts = made("python", folder="files")
        assert read(zip_of(parts)) == HONEST
        refusal(zip_of([folder, *parts[1:]]))


# -- content ---------------------------------------------------------------------------------------------


def test_a_document_larger_than_one_reading_is_whole() -> None:
    block = random.Random(5).randbytes(8 * 1024)
    for document in (block * 640, random.Random(6).randbytes(700_000), b""):
        for method in (STORED, DEFLATED):
            data = zip_of([Part(b"a", document, method=method), Part(b"b", PROOF)])
            pieces = list(open_bundle(io.BytesIO(data)).document())
            assert b"".join(pieces) == document
            assert max(map(len, pieces), default=0) <= READ_SIZE


def test_bytes_after_the_end_of_what_is_deflated_are_refused_wherever_reading_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = deflate(DOCUMENT)
    for reading in (len(packed), len(packed) + 1, len(packed) - 1):
        monkeypatch.setattr("ledger.archives.READ_SIZE", reading)
        assert read(changed("python", 0, packed=packed)) == HONEST
        refusal(changed("python", 0, packed=packed + b"x"))


def test_noise_deep_in_what_is_deflated_is_refused() -> None:
    document = random.Random(7).randbytes(20_000) + b"text " * 4_000
    packed = bytearray(deflate(document))
    packed[-40:-20] = b"\xff" * 20
    refusal(zip_of([Part(b"a", document, packed=bytes(packed)), Part(b"b", PROOF)]))


def test_a_bomb_is_refused_before_it_is_unpacked_and_the_largest_ratio_passes() -> None:
    bomb = bytes(64 * 1024 * 1024)
    packed = deflate(bomb)
    data = zip_of([Part(b"a", b"", packed=packed, size=len(bomb)), Part(b"b", PROOF)])
    assert "times its packed size" in refusal(data)
    # A lie about the size does not help: unpacking stops right after what was claimed.
    claimed = RATIO_MAX * len(packed)
    bundle = open_bundle(io.BytesIO(zip_of([Part(b"a", packed=packed, size=claimed), Part(b"b", PROOF)])))
    taken = 0
    with pytest.raises(BundleError):
        for piece in bundle.document():
            taken += len(piece)
    assert taken <= claimed
    dense = deflate(bytes(1024))
    allowed = RATIO_MAX * len(dense) + RATIO_SLACK
    largest = Part(b"a", bytes(allowed), packed=dense, size=allowed)
    open_bundle(io.BytesIO(zip_of([largest, Part(b"b", PROOF)])))
    refusal(zip_of([replace(largest, size=allowed + 1), Part(b"b", PROOF)]))


# -- chance ----------------------------------------------------------------------------------------------

EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=4
)


@given(st.sampled_from(sorted(TOOLS)), st.sampled_from(["", "files"]), EDITS)
def test_whatever_is_taken_others_read_alike(
    tool: str, folder: str, edits: list[tuple[int, bytes, int]]
) -> None:
    data = zip_of(made(tool, folder=folder))
    for place, put, taken in edits:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + taken :]
    try:
        found = read(data)
    except BundleError:
        return
    assert entries_of(data) == as_zipfile(data) == as_stream(data)
    assert found[1:] == (DOCUMENT, PROOF)


@pytest.mark.slow
@given(st.sampled_from(sorted(TOOLS)), st.integers(0, 10), st.data())
def test_a_field_changed_in_both_headers_is_refused_or_read_alike(
    tool: str, at: int, data: st.DataObject
) -> None:
    parts = made(tool)
    at %= len(parts)
    numbers = st.integers(0, 0xFFFF)
    drawn: dict[str, object] = {
        "version": data.draw(st.sampled_from([10, 20]) | numbers),
        "made_by": data.draw(st.just(parts[at].made_by) | numbers),
        "flags": data.draw(st.just(parts[at].flags) | numbers),
        "method": data.draw(st.sampled_from([0, 8]) | numbers),
        "time": data.draw(numbers),
        "date": data.draw(st.just(0x5C21) | numbers),
        "internal": data.draw(st.sampled_from([0, 1]) | numbers),
        "external": data.draw(st.just(parts[at].external) | st.integers(0, 0xFFFFFFFF)),
    }
    fields = {name: drawn[name] for name in data.draw(st.sets(st.sampled_from(sorted(drawn)), max_size=3))}
    parts[at] = replace(parts[at], **fields)  # type: ignore[arg-type]
    altered = zip_of(parts)
    try:
        found = read(altered)
    except BundleError:
        return
    assert found == HONEST
    assert entries_of(altered) == as_zipfile(altered) == as_stream(altered)


def test_what_else_macos_and_jar_add_has_its_form() -> None:
    def beside(*more: Part) -> bytes:
        return zip_of([*made("python"), *more])

    double = Part(b"__MACOSX/._report.pdf", APPLE_DOUBLE)
    assert read(beside(double)) == HONEST
    manifest = Part(b"META-INF/MANIFEST.MF", MANIFEST)
    assert read(beside(manifest)) == HONEST
    for wrong in (
        replace(double, content=b"%PDF-1.7"),
        replace(double, content=APPLE_DOUBLE[:23]),
        replace(double, content=APPLE_DOUBLE + bytes(4_096)),
        replace(double, name=b"__MACOSX/._other.pdf"),
        replace(double, name=b"__MACOSX/report.pdf"),
        replace(double, name=b"__MACOSX/files/._report.pdf"),
        replace(double, name=b"__MACOSX/../._report.pdf"),
        replace(double, name=b"__MACOSX"),
        replace(double, checksum=1),
        folder_of(Part(b""), "__MACOSX/files/"),
        replace(manifest, content=MANIFEST + b"Main-Class: x\r\n"),
        replace(manifest, content=MANIFEST.replace(b"\r\n", b"\n")),
        replace(manifest, content=b"Manifest-Version: 1.0\r\nCreated-By: <html>\r\n\r\n"),
        replace(manifest, name=b"META-INF/INDEX.LIST"),
        replace(manifest, name=b"META-INF/report.pdf"),
        replace(manifest, name=b"META-INF"),
    ):
        refusal(beside(wrong))
        refusal(zip_of([wrong, *made("python")]))
    refusal(beside(double, double))
    for name, word in ((".DS_Store", "Finder"), ("Thumbs.db", "Explorer"), ("desktop.ini", "Explorer")):
        assert word in refusal(beside(Part(name.encode(), b"x")))


def test_the_entries_of_an_archive_say_where_they_stand() -> None:
    (first, second) = read_entries(io.BytesIO(zip_of(made("python"))))
    assert first == Entry(
        "report.pdf", False, len(DOCUMENT), zlib.crc32(DOCUMENT), DEFLATED, first.packed_size, 40
    )
    assert second.path == "report.pdf.proof"
