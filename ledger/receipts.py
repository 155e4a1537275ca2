"""Consent receipts: what the holder was told and agreed to, readable, off chain (docs/consent.md).

Rule 1: a receipt says everything in three languages, so that each party reads the same record.
Rule 2: the consent's terms commitment binds the receipt as a whole: one changed character is another receipt.
Rule 3: what a receipt says in words agrees with the codes of the request that it answers.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from ledger.consents import ConsentFile, terms_commitment
from ledger.encoding.arguments import require_bytes, require_instance, require_json_text
from ledger.encoding.digests import HASH_SIZE, tagged_digest
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import (
    Code,
    Hash,
    Items,
    MemberId,
    Milliseconds,
    Nonce,
    PurposeCode,
    SchemaCode,
    Text,
    Uint,
    from_json,
    pack,
    parse_json,
)
from ledger.errors import LedgerError
from ledger.requests import ITEMS_MAX, Basis, Item, Request
from ledger.rules.state import (
    CROSS_BORDER,
    SENSITIVE,
    SEPARATE_CONSENT,
    ConsentTerms,
    Jurisdiction,
    Sources,
    Uses,
)

RECEIPT_TAG: Final = "luohu/receipt/2"
RECEIPT_FILE_SIZE_MAX: Final = 256 * 1024
STANDARD: Final = "ISO/IEC TS 27560:2023"
LANGUAGES: Final = ("zh-Hans", "zh-Hant", "en")
ISSUER: Final = "issuer"
RECIPIENT: Final = "recipient"
PARTIES_MAX: Final = 17

LongText = Annotated[str, Text(3_000)]


class ReceiptError(LedgerError):
    """A receipt that is not the one of this consent."""

    code = "receipt"


@dataclass(frozen=True, slots=True)
class Wording:
    """One text in three languages."""

    zh_hans: LongText
    zh_hant: LongText
    en: LongText

    def in_language(self, language: str) -> str:
        """Return the text in one of LANGUAGES."""
        return {"zh-Hans": self.zh_hans, "zh-Hant": self.zh_hant, "en": self.en}[language]


@dataclass(frozen=True, slots=True)
class ReceiptParty:
    """Who handles the data: name, address, contact, where it is kept, and how to exercise rights there."""

    role: Annotated[str, Code((ISSUER, RECIPIENT))]
    member: MemberId
    jurisdiction: Jurisdiction
    name: Wording
    address: Wording
    contact: LongText
    storage: Wording
    rights: Wording


@dataclass(frozen=True, slots=True)
class ReceiptPurpose:
    """What the data is used for."""

    code: PurposeCode
    title: Wording


@dataclass(frozen=True, slots=True)
class ReceiptKind:
    """A kind of document that is shown."""

    schema: SchemaCode
    title: Wording


@dataclass(frozen=True, slots=True)
class ReceiptCategory:
    """A category of data in it: a bit of the consent's category mask."""

    bit: Annotated[int, Uint(15)]
    text: Wording


@dataclass(frozen=True, slots=True)
class ConsentReceipt:
    """What the holder was told and agreed to. `record_id` is the grant's nonce, `principal` its consent key.

    `crossing` says what a provision across the border means, and is None where none is crossed.
    """

    TAG: ClassVar[str] = "consent-receipt"

    version: Annotated[int, Uint(2, 2)]
    standard: Annotated[str, Code((STANDARD,))]
    record_id: Nonce
    chain_id: Hash
    request_id: Hash
    principal: PublicKey
    language: Annotated[str, Code(LANGUAGES)]
    given_ms: Milliseconds
    from_ms: Milliseconds
    until_ms: Milliseconds
    uses: Uses
    notice_version: Hash
    title: Wording
    purpose: ReceiptPurpose
    items: Annotated[tuple[Item, ...], Items(ITEMS_MAX, minimum=1)]
    kinds: Annotated[tuple[ReceiptKind, ...], Items(64, minimum=1)]
    categories: Annotated[tuple[ReceiptCategory, ...], Items(16, minimum=1)]
    is_sensitive: Annotated[int, Uint(1)]
    parties: Annotated[tuple[ReceiptParty, ...], Items(PARTIES_MAX, minimum=1)]
    method: Wording
    necessity: Wording
    retention: Wording
    third_parties: Wording
    sources: Sources
    basis: Basis
    crossing: Wording | None
    separate_consent: Wording
    refusal: Wording
    withdrawal: Wording
    rights: Wording

    def digest(self) -> bytes:
        """Return the 32-byte hash that a consent commits to."""
        return tagged_digest(RECEIPT_TAG, pack(self))


@dataclass(frozen=True, slots=True)
class ReceiptFile:
    """A receipt with what opens the commitment to it: what holder, issuer and bank each keep."""

    TAG: ClassVar[str] = "receipt-file"

    receipt: ConsentReceipt
    terms_salt: Hash
    consent_id: Hash


def parse_receipt(text: str | bytes) -> ReceiptFile:
    """Return the receipt in a file, given by its content, its JSON form. Raises EncodingError."""
    content = require_json_text(
        "receipt", text, cure="Give the content of the file: Path(path).read_bytes()."
    )
    return from_json(ReceiptFile, parse_json(content, size_max=RECEIPT_FILE_SIZE_MAX))


def check_receipt(file: ReceiptFile, request: Request, terms: ConsentTerms, *, consent_id: bytes) -> None:
    """Check that a receipt is the one of a consent to a request. Raises ReceiptError.

    `terms` and `consent_id` are the consent's, as the ledger or the consent file has them.
    """
    require_instance("receipt", file, ReceiptFile, cure="Give what parse_receipt returns.")
    require_instance("request", request, Request, cure="Give Request.decode(Path(path).read_bytes()).")
    require_instance("terms", terms, ConsentTerms, cure="Give the terms of the consent that was granted.")
    require_bytes("consent_id", consent_id, cure="Give the consent's id.", size=HASH_SIZE)
    _require("consent id", consent_id, file.consent_id)
    _check_words(file.receipt, request, terms)
    opened = terms_commitment(
        request.decoded().asked, salt=file.terms_salt, receipt_hash=file.receipt.digest()
    )
    _require("terms commitment", terms.terms_commitment, opened)


def check_receipt_of(file: ReceiptFile, consent: ConsentFile) -> None:
    """Check that a receipt is the one of a consent file. Raises ReceiptError."""
    require_instance("receipt", file, ReceiptFile, cure="Give what parse_receipt returns.")
    cure = "Give ConsentFile.decode(Path(path).read_bytes())."
    require_instance("consent", consent, ConsentFile, cure=cure)
    grant = consent.grant.decoded()
    _require("record id", grant.nonce, file.receipt.record_id)
    _require("principal", grant.consent_key, file.receipt.principal)
    check_receipt(file, consent.request, grant.terms, consent_id=consent.consent_id)


def _check_words(receipt: ConsentReceipt, request: Request, terms: ConsentTerms) -> None:
    body = request.decoded()
    asked = body.decoded_asked()
    flags = SEPARATE_CONSENT | SENSITIVE * receipt.is_sensitive
    flags |= CROSS_BORDER if receipt.crossing is not None else 0
    parties = tuple((party.role, party.member) for party in receipt.parties)
    for where, expected, found in (
        ("request id", request.id, receipt.request_id),
        ("chain", body.chain_id, receipt.chain_id),
        ("parties", (*((ISSUER, issuer) for issuer in asked.issuers), (RECIPIENT, asked.recipient)), parties),
        ("purpose", asked.purpose, receipt.purpose.code),
        ("items", asked.items, receipt.items),
        ("kinds of document", asked.schemas, tuple(kind.schema for kind in receipt.kinds)),
        ("categories", asked.category_mask, sum(1 << category.bit for category in receipt.categories)),
        ("flags", asked.flags, flags),
        ("sources", asked.sources, receipt.sources),
        ("basis", asked.basis, receipt.basis),
        ("notice version", asked.notice_version, receipt.notice_version),
        ("from", terms.from_ms, receipt.from_ms),
        ("until", asked.until_ms, receipt.until_ms),
        ("uses", asked.uses, receipt.uses),
    ):
        _require(where, expected, found)


def _require(where: str, expected: object, found: object) -> None:
    if expected != found:
        raise ReceiptError(where=f"receipt {where}", expected=_show(expected), found=_show(found))


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_show(item) for item in value)
    return value.hex() if isinstance(value, bytes) else f"{value}"
