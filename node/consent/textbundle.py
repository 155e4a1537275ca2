"""The text bundle: all that people are told before they consent, as one canonical file (docs/texts.md).

Rule 1: one content has one file. Texts lie in order, each once, as one canonical record behind a magic; every other
spelling is refused. A text is of the ledger's closed list of characters, so it is in NFC (decision 14).
Rule 2: a bundle's hash is the SHA-256 of its whole file. What came under a hash is checked before it is used.
Rule 3: a notice's version is the hash of all that it tells the holder, in all three languages: one changed character
makes another notice.
Rule 4: a notice names only kinds of documents and a purpose whose titles the bundle has. One purpose, its sides and
list of schemas has one notice. Each notice makes a receipt whose texts fit.
Rule 5: a bundle has at most TEXTS_SIZE_MAX bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final

from ledger.encoding.arguments import require_bytes
from ledger.encoding.codec import Value, encode
from ledger.encoding.digests import digest, tagged_digest
from ledger.encoding.records import (
    Items,
    MemberId,
    PurposeCode,
    Record,
    SchemaCode,
    Text,
    Uint,
    pack,
    to_value,
    unpack,
)
from ledger.encoding.shapes import hints_of
from ledger.errors import LedgerError
from ledger.receipts import LongText, ReceiptCategory, Wording
from ledger.requests import Retention
from ledger.rules.state import CROSS_BORDER, SENSITIVE, SEPARATE_CONSENT, Jurisdiction, Sources

TEXTS_MAGIC: Final = b"LUOHU-TEXTS\x01"
TEXTS_SIZE_MAX: Final = 1024 * 1024
TEXTS_COUNT_MAX: Final = 256
NOTICE_TAG: Final = "luohu/notice/1"
TEXT_TAG: Final = "luohu/text/1"

SCHEMA, PURPOSE, NOTICE, PARTY, RECEIPT = "schema", "purpose", "notice", "party", "receipt"
"""The kinds of texts in a bundle, in the order of its fields."""

FieldPath = Annotated[str, Text(200)]


class TextsError(LedgerError):
    """A text bundle that is none, or that lacks a text."""

    code = "texts"


@dataclass(frozen=True, slots=True)
class SchemaTexts:
    """What people call a kind of document; `fields` are the paths that a JSON report of it has."""

    code: SchemaCode
    title: Wording
    fields: Annotated[tuple[FieldPath, ...], Items(256)]


@dataclass(frozen=True, slots=True)
class PurposeTexts:
    """What people call a purpose."""

    code: PurposeCode
    title: Wording


@dataclass(frozen=True, slots=True)
class Notice:
    """What the holder is told before consenting. `is_sensitive` is 0 or 1.

    Documents come from `sources` and go to `destination`, where what is shown is `kept` no longer than that.
    """

    sources: Sources
    destination: Jurisdiction
    kept: Retention
    schemas: Annotated[tuple[SchemaCode, ...], Items(64, minimum=1, increasing=True)]
    purpose: PurposeCode
    is_sensitive: Annotated[int, Uint(1)]
    title: Wording
    use: Wording
    retention: Wording
    withdrawal: Wording
    rights: Wording
    categories: Annotated[tuple[ReceiptCategory, ...], Items(16, minimum=1)]

    def __post_init__(self) -> None:
        _check_order(f"categories of notice {self.name}", [category.bit for category in self.categories])

    @property
    def name(self) -> str:
        """What no other notice of a bundle is called: sides, purpose and schemas."""
        return f"{self.direction} {self.purpose} {' '.join(self.schemas)}"

    @property
    def direction(self) -> str:
        """From where to where, as people read it: HK-CN, or CN+HK-CN."""
        return f"{'+'.join(self.sources)}-{self.destination}"

    @property
    def version(self) -> bytes:
        """The 32-byte notice version that a request and a consent name (rule 3)."""
        categories = tuple((category.bit, _utf8(category.text)) for category in self.categories)
        texts = (self.title, self.use, self.retention, self.withdrawal, self.rights)
        kept = (self.kept.starts, self.kept.days)
        head = (self.sources, self.destination, kept, self.schemas, self.purpose, self.is_sensitive)
        return tagged_digest(NOTICE_TAG, encode((*head, *map(_utf8, texts), categories)))

    @property
    def category_mask(self) -> int:
        """The bits of all categories."""
        return sum(1 << category.bit for category in self.categories)

    @property
    def flags(self) -> int:
        """The flags of a consent to this notice: separate consent always, the others as they apply."""
        crosses = self.sources != (self.destination,)
        return SEPARATE_CONSENT | (SENSITIVE if self.is_sensitive else 0) | (CROSS_BORDER if crosses else 0)


@dataclass(frozen=True, slots=True)
class PartyTexts:
    """What a receipt says of one institution, beside its names, which the ledger has."""

    member: MemberId
    contact: LongText
    address: Wording
    storage: Wording
    rights: Wording


@dataclass(frozen=True, slots=True)
class CommonTexts:
    """What every receipt says."""

    method: Wording
    necessity: Wording
    third_parties: Wording
    crossing: Wording
    separate_consent: Wording
    refusal: Wording


@dataclass(frozen=True, slots=True)
class TextHash:
    """The hash of one text: of a notice its version. `kind` and `name` say which text it is."""

    kind: str
    name: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class TextBundle:
    """All texts that people are shown, and that receipts are composed of."""

    TAG: ClassVar[str] = "text-bundle"

    version: Annotated[int, Uint(1, minimum=1)]
    schemas: Annotated[tuple[SchemaTexts, ...], Items(TEXTS_COUNT_MAX)]
    purposes: Annotated[tuple[PurposeTexts, ...], Items(TEXTS_COUNT_MAX)]
    notices: Annotated[tuple[Notice, ...], Items(TEXTS_COUNT_MAX)]
    parties: Annotated[tuple[PartyTexts, ...], Items(TEXTS_COUNT_MAX)]
    receipt: CommonTexts

    def __post_init__(self) -> None:
        schemas, purposes = [each.code for each in self.schemas], [each.code for each in self.purposes]
        _check_order("schemas", schemas)
        _check_order("purposes", purposes)
        _check_order("notices", [each.name for each in self.notices])
        _check_order("parties", [each.member for each in self.parties])
        for notice in self.notices:
            missing = sorted({*notice.schemas, notice.purpose} - {*schemas, *purposes})
            if missing:
                raise TextsError(
                    where=f"notice {notice.name}",
                    expected="a title for each kind of document and purpose that it names",
                    found=f"none for {missing[0]}",
                )
            # A receipt has both in one field.
            _check_fits(f"use in notice {notice.name}, with method", method_of(notice, self.receipt))

    def find_notice(
        self, *, schemas: tuple[str, ...], purpose: str, sources: tuple[str, ...], destination: str
    ) -> Notice | None:
        """Return the notice for exactly these, or None."""
        for each in self.notices:
            if (each.schemas, each.purpose, each.sources, each.destination) == (
                schemas,
                purpose,
                sources,
                destination,
            ):
                return each
        return None

    def find_notice_by_version(self, version: bytes) -> Notice | None:
        """Return the notice with that version, or None."""
        return next((each for each in self.notices if each.version == version), None)

    def find_party(self, member: str) -> PartyTexts | None:
        """Return what is said of an institution, or None."""
        return next((each for each in self.parties if each.member == member), None)

    def fields_of(self, schema: str) -> tuple[str, ...]:
        """Return the paths that a JSON report of a kind has, where they are known."""
        return next((each.fields for each in self.schemas if each.code == schema), ())

    def text_hashes(self) -> tuple[TextHash, ...]:
        """Return the hash of every text, in the order of the bundle. Notices have their versions."""
        titles: list[tuple[str, str, Record]] = [(SCHEMA, each.code, each) for each in self.schemas]
        titles += [(PURPOSE, each.code, each) for each in self.purposes]
        others: list[tuple[str, str, Record]] = [(PARTY, each.member, each) for each in self.parties]
        others += [(RECEIPT, name, getattr(self.receipt, name)) for name in hints_of(CommonTexts)]
        return (
            *(_text_hash(*each) for each in titles),
            *(TextHash(NOTICE, each.name, each.version) for each in self.notices),
            *(_text_hash(*each) for each in others),
        )


@dataclass(frozen=True, slots=True)
class PackedTexts:
    """A text bundle with its file and the hash of that: what is handed on, served and named."""

    bundle: TextBundle
    encoded: bytes
    hash: bytes

    @classmethod
    def pack(cls, bundle: TextBundle) -> "PackedTexts":
        """Return a bundle with its file. Raises TextsError where it is too large, EncodingError where a text is."""
        encoded = TEXTS_MAGIC + pack(bundle)
        if len(encoded) > TEXTS_SIZE_MAX:
            raise TextsError(
                where="text bundle", expected=f"at most {TEXTS_SIZE_MAX} bytes", found=f"{len(encoded)}"
            )
        return cls(bundle, encoded, digest(encoded))

    @classmethod
    def decode(cls, data: bytes) -> "PackedTexts":
        """Return the bundle in a file, given by its content. Raises LedgerError where it is not exactly one."""
        data = require_bytes(
            "text bundle", data, cure="Give the content of the file: Path(path).read_bytes()."
        )
        if not data.startswith(TEXTS_MAGIC[:-1]):
            expected = f"a file that starts with {TEXTS_MAGIC[:-1].decode()}"
            raise TextsError(where="text bundle", expected=expected, found=f"{data[:16]!a}")
        if not data.startswith(TEXTS_MAGIC):
            found = f"version {data[len(TEXTS_MAGIC) - 1 : len(TEXTS_MAGIC)]!a}"
            raise TextsError(where="text bundle", expected=f"version {TEXTS_MAGIC[-1]}", found=found)
        if len(data) > TEXTS_SIZE_MAX:
            raise TextsError(where="text bundle", expected=f"at most {TEXTS_SIZE_MAX} bytes", found="more")
        bundle = unpack(TextBundle, data[len(TEXTS_MAGIC) :], size_max=TEXTS_SIZE_MAX)
        return cls(bundle, data, digest(data))

    def answers(self, wanted: bytes) -> bool:
        """Say whether it is what a hash names: itself, or a notice that it contains."""
        return self.hash == wanted or self.bundle.find_notice_by_version(wanted) is not None


def method_of(notice: Notice, receipt: CommonTexts) -> Wording:
    """Return how data is handled, as a receipt says it: what the notice says of it, and what every receipt says."""
    use, method = notice.use, receipt.method
    return Wording(use.zh_hans + method.zh_hans, use.zh_hant + method.zh_hant, f"{use.en} {method.en}")


def _check_fits(where: str, text: Wording) -> None:
    try:
        pack(text)
    except LedgerError as error:
        raise TextsError(where=where, expected=error.expected, found=error.found) from error


def _text_hash(kind: str, name: str, text: Record) -> TextHash:
    return TextHash(kind, name, tagged_digest(TEXT_TAG, encode((kind, name, to_value(text)))))


def _utf8(wording: Wording) -> Value:
    return (wording.zh_hans.encode(), wording.zh_hant.encode(), wording.en.encode())


def _check_order(what: str, names: Sequence[str] | Sequence[int]) -> None:
    for before, after in pairwise(names):
        if not before < after:  # type: ignore[operator]
            expected, found = "each once, in order", f"{after} after {before}"
            raise TextsError(where=what, expected=expected, found=found)
