"""Sets: many files under one anchor, of which the holder shows all or some (docs/sets.md; docs/formats.md, Set).

Rule 1: the document is the manifest: a digest for each file, and nothing else. A digest is an HMAC under a salt of its
own, so that what is not shown gives away neither name, type, size nor a hash that a guess could be tested against.
Rule 2: digests increase, so their order says nothing of the files; each stands once.
Rule 3: a set as it is shown has one form for one choice: the manifest, and what opens the chosen digests, in order.
Rule 4: no two names are equal or alike, and each is read alike by every system (ledger/filenames.py). Who issues a set
holds all its names to that, who verifies one those that are shown.
Rule 5: how much a set may hold is looked at before it is taken apart.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final, get_args
from unicodedata import normalize

from ledger.commitments import MediaType
from ledger.encoding.arguments import require_bytes
from ledger.encoding.codec import ENCODED_SIZE_MAX
from ledger.encoding.digests import HASH_SIZE, keyed_digest
from ledger.encoding.lookalikes import skeleton
from ledger.encoding.records import Hash, Identifier, Integer, Items, Octets, pack, unpack
from ledger.errors import EncodingError, LedgerError
from ledger.filenames import NAME_SIZE_MAX, find_fault
from ledger.shown import shown_hash
from ledger.trees.merkle import Content

SET_MEDIA_TYPE: Final = "application/vnd.luohu.set"
"""What a manifest is anchored as, and nothing else is: no file becomes a set by what it holds."""

MANIFEST_MAGIC: Final = b"LUOHU-SET\x01"
SHOWN_MAGIC: Final = b"LUOHU-SHOWN\x01"
ENTRY_TAG: Final = "luohu/set-entry/1"
FILES_MAX: Final = 16_384
SALT_SIZE: Final = HASH_SIZE
MANIFEST_SIZE_MAX: Final = 1024 * 1024
SHOWN_FILE_SIZE_MAX: Final = len(SHOWN_MAGIC) + ENCODED_SIZE_MAX

_MEDIA_TYPE: Final[Identifier] = get_args(MediaType)[1]

Random = Callable[[int], bytes]
"""Returns so many random bytes; `secrets.token_bytes`."""


class UnfitSet(LedgerError):
    """Files that make no set, or bytes that are none."""


@dataclass(frozen=True, slots=True)
class SetFile:
    """A file that is to be one of a set: its name, its media type, and the size and root of its content."""

    name: str
    media_type: str
    content: Content


@dataclass(frozen=True, slots=True)
class SetEntry:
    """What opens one digest of a manifest: `name` is in UTF-8, `size` in bytes, `salt` 32 random bytes of its own."""

    name: Annotated[bytes, Octets(1, NAME_SIZE_MAX)]
    media_type: MediaType
    size: Integer
    content_root: Hash
    salt: Hash

    def digest(self) -> bytes:
        """Return the 32-byte digest that stands for the file in the manifest."""
        described = _Described(self.name, self.media_type, self.size, self.content_root)
        return keyed_digest(self.salt, ENTRY_TAG, pack(described))


@dataclass(frozen=True, slots=True)
class ShownSet:
    """A set as its holder has it, or as it is shown: the manifest, and what opens all or some of its digests."""

    manifest: Annotated[bytes, Octets(1, MANIFEST_SIZE_MAX)]
    entries: Annotated[tuple[SetEntry, ...], Items(FILES_MAX)]

    @classmethod
    def decode(cls, data: bytes) -> "ShownSet":
        """Return what the content of a file says; nothing of it is compared yet. Raises EncodingError."""
        data = require_bytes("shown", data, cure="Give the content of the file: Path(path).read_bytes().")
        if not data.startswith(SHOWN_MAGIC):
            raise EncodingError(
                where="shown set", expected="the start of a set that is shown", found="other bytes"
            )
        return unpack(cls, data[len(SHOWN_MAGIC) :], size_max=ENCODED_SIZE_MAX)

    def encode(self) -> bytes:
        """Return the content of a file."""
        return SHOWN_MAGIC + pack(self)

    def check(self) -> int:
        """Check that all of it fits together; return how many files the whole set has. Raises UnfitSet."""
        digests = decode_manifest(self.manifest)
        opened = [entry.digest() for entry in self.entries]
        known = {*digests}
        for entry, digest in zip(self.entries, opened, strict=True):
            if digest not in known:
                raise UnfitSet(
                    code="set-unfit",
                    where=_shown_name(entry.name),
                    expected="a file of the set, as its issuer put it there",
                    found="one that no digest of the manifest stands for",
                )
        check_increasing("set-unfit", "shown files", opened)
        check_names([entry.name for entry in self.entries])
        return len(digests)

    @property
    def shown_hash(self) -> bytes:
        """The 32-byte hash of what is shown: one for each choice of files (ledger/shown.py)."""
        return shown_hash(entry.digest() for entry in self.entries)


@dataclass(frozen=True, slots=True)
class _Described:
    name: Annotated[bytes, Octets(1, NAME_SIZE_MAX)]
    media_type: MediaType
    size: Integer
    content_root: Hash


def issue_set(files: Iterable[SetFile], random: Random) -> ShownSet:
    """Return a set with every file opened: the holder's. Raises UnfitSet, or EncodingError for a media type.

    `random` is asked for each salt. The manifest, which is anchored, is the same whatever is shown later.
    """
    listed = tuple(files)
    check_listing([file.name for file in listed])
    by_digest: dict[bytes, SetEntry] = {}
    for file in listed:
        name = file.name.encode()
        entry = SetEntry(name, file.media_type, file.content.size, file.content.root, random(SALT_SIZE))
        by_digest[entry.digest()] = entry
    assert len(by_digest) == len(listed), "names differ, so digests do"
    ordered = sorted(by_digest)
    return ShownSet(MANIFEST_MAGIC + b"".join(ordered), tuple(by_digest[each] for each in ordered))


def select_files(whole: ShownSet, names: Collection[str]) -> ShownSet:
    """Return a set that shows the named files alone. Raises UnfitSet where it has none of a name."""
    chosen = {name.encode("utf-8", "surrogatepass") for name in names}
    missing = sorted(chosen - {entry.name for entry in whole.entries})
    if missing:
        raise UnfitSet(
            code="set-no-such-file",
            where="files",
            expected="names of files that this set shows",
            found=", ".join(_shown_name(name) for name in missing[:3]) + ("…" if missing[3:] else ""),
            cure="`luohu set show` lists them.",
        )
    return ShownSet(whole.manifest, tuple(entry for entry in whole.entries if entry.name in chosen))


def decode_manifest(data: bytes) -> tuple[bytes, ...]:
    """Return the digests of a manifest, 1 to 16,384 of 32 bytes. Raises UnfitSet."""
    if not data.startswith(MANIFEST_MAGIC):
        raise UnfitSet(
            code="manifest-malformed", where="manifest", expected="the start of one", found="other bytes"
        )
    size = len(data) - len(MANIFEST_MAGIC)
    count, rest = divmod(size, HASH_SIZE)
    if rest:
        raise UnfitSet(
            code="manifest-malformed",
            where="manifest",
            expected=f"digests of {HASH_SIZE} bytes",
            found=f"{size} bytes",
        )
    _check_count(count)
    starts = range(len(MANIFEST_MAGIC), len(data), HASH_SIZE)
    digests = tuple(data[start : start + HASH_SIZE] for start in starts)
    check_increasing("manifest-malformed", "manifest", digests)
    return digests


def require_media_type(text: str) -> None:
    """Check that a text is a media type that a commitment can hold. Raises EncodingError."""
    if len(text) > _MEDIA_TYPE.size_max or not re.fullmatch(_MEDIA_TYPE.pattern, text, re.ASCII):
        raise EncodingError(
            where="media type",
            expected=f"one of at most {_MEDIA_TYPE.size_max} small characters, like application/dicom",
            found=ascii(text)[:80],
        )


def check_listing(names: Sequence[str]) -> None:
    """Check that files of these names may be a set. Raises UnfitSet. Nothing was read of them yet."""
    _check_count(len(names))
    check_names([name.encode("utf-8", "surrogatepass") for name in names])


def check_names(names: Sequence[bytes]) -> None:
    """Check names in UTF-8: no two of them equal or alike, and each read alike everywhere. Raises UnfitSet.

    Of several reasons the first is told: equal, then alike, then the name itself.
    """
    texts = [_text_of(name) for name in names]
    _check_distinct("set-names-equal", "a name for each file", texts, texts)
    plain = [normalize("NFC", text) for text in texts]
    for form in (str.lower, skeleton):
        _check_distinct("set-names-alike", "names that nobody takes for one", texts, [*map(form, plain)])
    for name, text in zip(names, texts, strict=True):
        fault = find_fault(text)
        if fault is not None:
            raise UnfitSet(
                code="set-name",
                where=_shown_name(name),
                expected="a name that every system reads alike",
                found=fault,
                cure="Rename the file.",
            )


def check_increasing(code: str, where: str, digests: Sequence[bytes]) -> None:
    """Check that digests stand in order, each once. Raises UnfitSet."""
    if any(first >= second for first, second in pairwise(digests)):
        raise UnfitSet(
            code=code, where=where, expected="increasing digests, each once", found="another order"
        )


def _check_count(count: int) -> None:
    if count == 0:
        raise UnfitSet(
            code="set-empty",
            where="set",
            expected=f"1 to {FILES_MAX} files",
            found="none",
            cure="Put the files into the folder.",
        )
    if count > FILES_MAX:
        raise UnfitSet(
            code="set-too-many",
            where="set",
            expected=f"at most {FILES_MAX} files",
            found=f"{count}",
            cure="Make several sets of them, each a folder of its own.",
        )


def _check_distinct(code: str, expected: str, texts: Sequence[str], forms: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for text, form in zip(texts, forms, strict=True):
        if form in seen:
            found = f"{ascii(seen[form])[:80]} and {ascii(text)[:80]}"
            raise UnfitSet(
                code=code, where="names", expected=expected, found=found, cure="Rename one of the two."
            )
        seen[form] = text


def _text_of(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise UnfitSet(
            code="set-name",
            where=_shown_name(name),
            expected="a name in UTF-8",
            found="other bytes",
            cure="Rename the file.",
        ) from error


def _shown_name(name: bytes) -> str:
    return ascii(name.decode("utf-8", "backslashreplace"))[:80]
