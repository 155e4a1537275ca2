"""Packages: a plain ZIP of document and proof, and every trick that is refused."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import EncodingError
from ledger.packages import (
    EXTRA_SIZE_MAX,
    NAME_SIZE_MAX,
    PACKAGE_SIZE_MAX,
    Pair,
    is_package,
    match_pair,
    open_package,
)
from tests.attacks.forge import DOCUMENT, honest

PROOF = honest().proof_bytes
PAIR = Pair(DOCUMENT, PROOF)


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
        archive.comment = comment
    return file.getvalue()


def package() -> bytes:
    return zipped(("report.pdf", DOCUMENT), ("report.pdf.proof", PROOF))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_plain_zip_of_the_two_opens_in_either_order_and_under_any_names(method: int) -> None:
    document, proof = ("a", DOCUMENT), ("b", PROOF)
    assert open_package(zipped(document, proof, method=method)) == PAIR
    assert open_package(zipped(proof, document, method=method)) == PAIR
    assert open_package(zipped(("报告.proof", DOCUMENT), ("x.pdf", PROOF), method=method)) == PAIR
    assert is_package(package())
    assert not is_package(PROOF)


def test_an_opened_package_verifies() -> None:
    shown, pair = honest(), open_package(package())
    verdict = shown.verifier.verify(pair.document, pair.proof, request=shown.request, at_ms=shown.at_ms)
    assert verdict == shown.verify()


def test_two_files_are_told_apart_by_their_content() -> None:
    assert match_pair(DOCUMENT, PROOF) == match_pair(PROOF, DOCUMENT) == PAIR
    for first, second in ((PROOF, PROOF), (DOCUMENT, DOCUMENT), (b"", b"")):
        with pytest.raises(EncodingError, match="exactly one proof file"):
            match_pair(first, second)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def directory_at(data: bytes) -> int:
    return data.index(b"PK\x01\x02")


def second_local_at(data: bytes) -> int:
    return data.index(b"PK\x03\x04", 4)


def with_extra(kind: int, size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (("a", DOCUMENT), ("b", PROOF)):
            info = zipfile.ZipInfo(name)
            info.extra = struct.pack("<HH", kind, size) + bytes(size)
            archive.writestr(info, content)
    return file.getvalue()


def bomb() -> bytes:
    """A small entry that states 64 bytes and unpacks to sixteen megabytes."""
    data = zipped(("a", bytes(16 * 1024 * 1024)), ("b", PROOF))
    for at in (22, directory_at(data) + 24):
        data = patched(data, at, (64).to_bytes(4, "little"))
    return data


def streamed() -> bytes:
    """Entries with data descriptors, as a writer makes them that cannot go back."""

    class Forward(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    file = Forward()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", DOCUMENT)
        archive.writestr("b", PROOF)
    return file.getvalue()


def overlapping() -> bytes:
    """Two directory entries for one content."""
    data = zipped(("a", PROOF), ("b", DOCUMENT))
    second = data.index(b"PK\x01\x02", directory_at(data) + 4)
    return patched(data, second + 42, bytes(4))


def trailing_stream() -> bytes:
    """A deflate stream that ends before its entry does."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(DOCUMENT) + packer.flush() + b"hidden"
    data = zipped(("a", packed), ("b", PROOF), method=zipfile.ZIP_STORED)
    for at in (0, directory_at(data)):
        shift = 0 if at == 0 else 2
        data = patched(data, at + 8 + shift, (8).to_bytes(2, "little"))
        data = patched(data, at + 14 + shift, zlib.crc32(DOCUMENT).to_bytes(4, "little"))
        data = patched(data, at + 22 + shift, len(DOCUMENT).to_bytes(4, "little"))
    return data


TRICKS: dict[str, Callable[[], bytes]] = {
    "no bytes": lambda: b"",
    "another file": lambda: PROOF,
    "one entry": lambda: zipped(("a", PROOF)),
    "three entries": lambda: zipped(("a", DOCUMENT), ("b", PROOF), ("c", b"")),
    "two proofs": lambda: zipped(("a", PROOF), ("b", PROOF)),
    "two documents": lambda: zipped(("a", DOCUMENT), ("b", DOCUMENT)),
    "a comment": lambda: zipped(("a", DOCUMENT), ("b", PROOF), comment=b"a comment"),
    "bytes before": lambda: b"MZ" + package(),
    "bytes after": lambda: package() + b"\0",
    "bytes between": lambda: (data := package())[: second_local_at(data)] + b"\0" + data[second_local_at(data) :],
    "a cut end": lambda: package()[:-1],
    "another method": lambda: zipped(("a", DOCUMENT), ("b", PROOF), method=zipfile.ZIP_BZIP2),
    "encryption flagged": lambda: patched(patched(package(), 6, b"\x01"), directory_at(package()) + 8, b"\x01"),
    "data descriptors": streamed,
    "an entry under another name": lambda: patched(package(), 30, b"R"),
    "a size that only the entry states": lambda: patched(package(), 22, b"\x01"),
    "a checksum of other bytes": lambda: patched(
        patched(package(), 14, b"abcd"), directory_at(package()) + 16, b"abcd"
    ),
    "a bomb": bomb,
    "overlapping entries": overlapping,
    "a stream within a stream": trailing_stream,
    "ZIP64": lambda: with_extra(0x0001, 16),
    "another name in an extra field": lambda: with_extra(0x7075, 8),
    "extra fields without end": lambda: with_extra(0x5455, EXTRA_SIZE_MAX - 3),
    "a name without end": lambda: zipped(("a" * (NAME_SIZE_MAX + 1), DOCUMENT), ("b", PROOF)),
    "a second disk": lambda: patched(package(), len(package()) - 18, b"\x01"),
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_are_refused(trick: str) -> None:
    with pytest.raises(EncodingError):
        open_package(TRICKS[trick]())


def test_what_common_tools_add_does_not_matter() -> None:
    assert open_package(with_extra(0x5455, 5)) == PAIR
    assert open_package(with_extra(0x5455, EXTRA_SIZE_MAX - 4)) == PAIR
    assert open_package(zipped(("a" * NAME_SIZE_MAX, DOCUMENT), ("b", PROOF))) == PAIR


def test_a_package_is_bounded_before_it_is_read() -> None:
    with pytest.raises(EncodingError, match=f"at most {PACKAGE_SIZE_MAX} bytes"):
        open_package(bytes(PACKAGE_SIZE_MAX + 1))


def test_every_bit_of_a_package_is_checked_or_means_nothing() -> None:
    data = package()
    for place in range(8 * len(data)):
        altered = bytearray(data)
        altered[place // 8] ^= 1 << place % 8
        try:
            assert open_package(bytes(altered)) == PAIR
        except EncodingError:
            continue


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    for start in (b"", package()[:200]):
        with pytest.raises(EncodingError):
            open_package(start + data)
