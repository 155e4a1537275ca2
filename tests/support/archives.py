"""ZIP files made by hand, each header and field as this or that tool writes it, or otherwise."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

LOCAL = "<4s5H3L2H"
CENTRAL = "<4s6H3L5H2L"
STORED, DEFLATED = 0, 8
DESCRIBED, UTF8 = 1 << 3, 1 << 11
TIME, DATE = 0x4A21, 0x5C21
NTFS_TIME = 134_000_000_000_000_000
STAMPS = struct.pack("<3L", 1_780_000_000, 1_780_000_001, 1_780_000_002)
APPLE_DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes.fromhex("0002") + bytes(60)
MANIFEST = b"Manifest-Version: 1.0\r\nCreated-By: 17.0.9 (Eclipse Adoptium)\r\n\r\n"


def deflate(content: bytes) -> bytes:
    """Return raw deflate bytes, as entries hold them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def extra(kind: int, data: bytes) -> bytes:
    """Return one extra field."""
    return struct.pack("<HH", kind, len(data)) + data


TIMES_3 = extra(0x5455, b"\x03" + STAMPS[:8])
TIMES_3_SHORT = extra(0x5455, b"\x03" + STAMPS[:4])
TIMES_7 = extra(0x5455, b"\x07" + STAMPS)
OWNERS = extra(0x7875, b"\x01\x04" + struct.pack("<L", 501) + b"\x04" + struct.pack("<L", 20))
OLD_UNIX = extra(0x5855, STAMPS[:8] + struct.pack("<2H", 501, 20))
OLD_UNIX_SHORT = extra(0x5855, STAMPS[:8])
NTFS = extra(0x000A, struct.pack("<L2H3Q", 0, 1, 24, NTFS_TIME, NTFS_TIME + 1, 0))
JAR = extra(0xCAFE, b"")


@dataclass(frozen=True)
class Part:
    """One entry. `packed`, `size` and `checksum` are those of the content unless they lie; `described` are the
    three numbers in the local header of an entry with a descriptor, and `descriptor` the one that follows."""

    name: bytes
    content: bytes = b""
    method: int = DEFLATED
    flags: int = 0
    version: int = 20
    made_by: int = 0x0314
    time: int = TIME
    date: int = DATE
    local_extra: bytes = b""
    central_extra: bytes = b""
    internal: int = 0
    external: int = 0o100644 << 16
    packed: bytes | None = None
    size: int | None = None
    checksum: int | None = None
    described: tuple[int, int, int] = (0, 0, 0)
    descriptor: bytes | None = None
    disk: int = 0
    comment: bytes = b""
    gap: bytes = b""
    """What stands between this entry and the next, with every number in order."""

    @property
    def data(self) -> bytes:
        """Return the packed content."""
        if self.packed is not None:
            return self.packed
        return self.content if self.method == STORED else deflate(self.content)

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Return checksum, packed size and size, as the directory has them."""
        size = len(self.content) if self.size is None else self.size
        checksum = zlib.crc32(self.content) if self.checksum is None else self.checksum
        return checksum, len(self.data), size

    def same(self) -> tuple[int, ...]:
        """Return what both headers say alike."""
        return self.version, self.flags, self.method, self.time, self.date

    def local(self) -> bytes:
        """Return header, content and descriptor."""
        is_described = bool(self.flags & DESCRIBED)
        numbers = self.described if is_described else self.numbers
        sizes = len(self.name), len(self.local_extra)
        head = struct.pack(LOCAL, b"PK\x03\x04", *self.same(), *numbers, *sizes)
        behind = struct.pack("<4s3L", b"PK\x07\x08", *self.numbers) if is_described else b""
        if self.descriptor is not None:
            behind = self.descriptor
        return head + self.name + self.local_extra + self.data + behind + self.gap

    def central(self, start: int) -> bytes:
        """Return the entry of the directory."""
        sizes = len(self.name), len(self.central_extra), len(self.comment)
        head = struct.pack(
            CENTRAL,
            b"PK\x01\x02",
            self.made_by,
            *self.same(),
            *self.numbers,
            *sizes,
            self.disk,
            self.internal,
            self.external,
            start,
        )
        return head + self.name + self.central_extra + self.comment


def zip_of(
    parts: Sequence[Part], *, prefix: bytes = b"", before_end: bytes = b"", comment: bytes = b""
) -> bytes:
    """Return an archive whose offsets are right, whatever stands between."""
    data, directory = prefix, b""
    for part in parts:
        directory += part.central(len(data))
        data += part.local()
    start, count = len(data), len(parts)
    data += directory + before_end
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, len(comment))
    return data + end + comment


@dataclass(frozen=True)
class Tool:
    """How a tool packs a file; which entries it puts before, and which behind each file."""

    file: Part
    before: tuple[Part, ...] = ()
    has_doubles: bool = False
    stores_proof: bool = False
    first: dict[str, bytes] = field(default_factory=dict)

    def parts(self, document: bytes, proof: bytes, *, names: tuple[str, str], folder: str = "") -> list[Part]:
        """Return the entries of an archive of the two."""
        made: list[Part] = list(self.before)
        if folder:
            made.append(folder_of(self.file, folder + "/"))
        for name, content in zip(names, (document, proof), strict=True):
            part = replace(self.file, name=(f"{folder}/{name}" if folder else name).encode(), content=content)
            if self.stores_proof and content is proof:
                part = replace(part, method=STORED, version=10, flags=part.flags & ~0b110, packed=None)
            made.append(part)
            if self.has_doubles:
                where = f"__MACOSX/{folder}/._{name}" if folder else f"__MACOSX/._{name}"
                made.append(replace(self.file, name=where.encode(), content=APPLE_DOUBLE))
        made[0] = replace(made[0], **self.first)  # type: ignore[arg-type]
        return made


def folder_of(like: Part, name: str) -> Part:
    """Return a folder, as the maker of a file writes one."""
    mode = 0o040755 << 16 if like.external >> 16 else 0
    return replace(
        like,
        name=name.encode(),
        content=b"",
        method=STORED,
        version=10,
        flags=like.flags & UTF8,
        internal=0,
        external=mode | 0x10,
    )


_JAVA = Part(b"", flags=DESCRIBED | UTF8, made_by=0x0014, external=0)
TOOLS = {
    "python": Tool(Part(b"")),
    "zip": Tool(
        Part(
            b"",
            made_by=0x031E,
            local_extra=TIMES_3 + OWNERS,
            central_extra=TIMES_3_SHORT + OWNERS,
            internal=1,
        ),
        stores_proof=True,
    ),
    "finder": Tool(
        Part(
            b"",
            flags=DESCRIBED,
            made_by=0x0315,
            external=0x81A44000,
            local_extra=OLD_UNIX,
            central_extra=OLD_UNIX_SHORT,
        ),
        has_doubles=True,
    ),
    "newer finder": Tool(
        Part(
            b"",
            flags=DESCRIBED,
            made_by=0x0315,
            external=0x81A44000,
            local_extra=TIMES_7 + OWNERS,
            central_extra=TIMES_7 + OWNERS,
        ),
        has_doubles=True,
    ),
    "jar": Tool(
        _JAVA,
        before=(
            replace(_JAVA, name=b"META-INF/"),
            replace(_JAVA, name=b"META-INF/MANIFEST.MF", content=MANIFEST),
        ),
        first={"local_extra": JAR, "central_extra": JAR},
    ),
    "jar without manifest": Tool(_JAVA, first={"local_extra": JAR, "central_extra": JAR}),
    "explorer": Tool(Part(b"", made_by=0x0014, external=0x20)),
    "7-zip on windows": Tool(Part(b"", made_by=0x003F, external=0x20, central_extra=NTFS), stores_proof=True),
    "7-zip on unix": Tool(Part(b"", made_by=0x033F, external=0x81A48020, central_extra=NTFS)),
    "windows 11": Tool(
        Part(b"", flags=DESCRIBED | UTF8, local_extra=TIMES_3 + OWNERS, central_extra=TIMES_3 + OWNERS)
    ),
}
