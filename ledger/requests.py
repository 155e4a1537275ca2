"""Requests: what a bank asks of a holder, off chain (docs/presenting.md, A request).

Rule 1: a request is signed by the bank's member key, over all of it.
Rule 2: what is asked is one encoded `Asked`. A consent commits to these very bytes, so a later request under the same
consent asks for the same, byte for byte; nonce, pin and answer-by time stand beside it and are new each time.
Rule 3: no document answers two items: items that one document could answer are refused where a request is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, ClassVar, Final

from ledger.encoding.arguments import require_bytes
from ledger.encoding.digests import tagged_digest
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import (
    Code,
    Hash,
    Height,
    Identifier,
    Items,
    MemberId,
    Milliseconds,
    Nonce,
    Octets,
    PurposeCode,
    SchemaCode,
    SignatureBytes,
    Uint,
    pack,
    unpack,
)
from ledger.errors import EncodingError, LedgerError
from ledger.magics import without_magic
from ledger.rules.state import CategoryMask, ConsentFlags, Sources, Uses

REQUEST_TAG: Final = "luohu/request/2"
REQUEST_ID_TAG: Final = "luohu/request-id/1"

REQUEST_MAGIC: Final = b"LUOHU-REQUEST\x02"
ASKED_SIZE_MAX: Final = 2_000
REQUEST_SIZE_MAX: Final = 2_286
REQUEST_FILE_SIZE_MAX: Final = len(REQUEST_MAGIC) + REQUEST_SIZE_MAX
"""2,300 bytes: one QR code of version 40 with medium error correction holds 2,331 (ISO/IEC 18004, table 7)."""
ITEMS_MAX: Final = 8
ISSUERS_MAX: Final = 16
ANSWER_WITHIN_MS: Final = 30 * 86_400_000

HOLDER_CARRIED: Final = "holder-carried"
SELF: Final = "self"
FROM_END: Final = "end"

Flag = Annotated[int, Uint(1)]
Day = Annotated[int, Uint(2**20 - 1)]
ItemNumber = Annotated[int, Uint(ITEMS_MAX - 1)]
Reference = Annotated[str, Identifier("reference", 64, r"[A-Za-z0-9](?:[A-Za-z0-9./-]*[A-Za-z0-9])?")]


class ItemsContradict(LedgerError):
    """Two items of a request that one document could answer."""

    code = "items-contradict"


@dataclass(frozen=True, slots=True)
class Days:
    """Days since 1970-01-01, UTC, both included."""

    first: Day
    last: Day


@dataclass(frozen=True, slots=True)
class Item:
    """One kind of evidence that a bank asks for: at least `count` documents of these schemas, by these issuers.

    Without issuers it is any that the schema lists. An item that is `needed` must be answered; with `bound` by
    documents that name a holder; with `covers` by documents whose days leave no day of it out.
    """

    issuers: Annotated[tuple[MemberId, ...], Items(8, increasing=True)]
    schemas: Annotated[tuple[SchemaCode, ...], Items(8, minimum=1, increasing=True)]
    count: Annotated[int, Uint(64, minimum=1)]
    needed: Flag
    bound: Flag
    covers: Days | None


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days the recipient keeps what it was shown: from the consent's end, its record, or close of business."""

    starts: Annotated[str, Code((FROM_END, "record", "close"))]
    days: Annotated[int, Uint(36_600)]


@dataclass(frozen=True, slots=True)
class Basis:
    """What the recipient declares of the law: by what the data may cross, under which number, who consents.

    `reference` is the number of the exempt scenario or of the filed standard contract, `assessment` that of the impact
    assessment. Nothing here judges what is lawful.
    """

    code: Annotated[
        str,
        Code((HOLDER_CARRIED, "gba-standard-contract", "certification", "security-assessment", "exemption")),
    ]
    reference: Reference | None
    assessment: Reference | None
    capacity: Annotated[str, Code((SELF, "guardian", "company"))]
    retention: Retention


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that a consent is given to. `sources` are the jurisdictions that documents may come from."""

    recipient: MemberId
    items: Annotated[tuple[Item, ...], Items(ITEMS_MAX, minimum=1)]
    sources: Sources
    purpose: PurposeCode
    category_mask: CategoryMask
    basis: Basis
    flags: ConsentFlags
    notice_version: Hash
    until_ms: Milliseconds
    uses: Uses

    def items_for(self, *, issuer: str, schema: str) -> tuple[int, ...]:
        """Return the numbers of the items that a document of this issuer and kind may answer."""
        return tuple(
            number
            for number, item in enumerate(self.items)
            if schema in item.schemas and (not item.issuers or issuer in item.issuers)
        )

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers that its items name, in order, each once."""
        return tuple(sorted({issuer for item in self.items for issuer in item.issuers}))

    @property
    def schemas(self) -> tuple[str, ...]:
        """The kinds that its items name, in order, each once."""
        return tuple(sorted({schema for item in self.items for schema in item.schemas}))


@dataclass(frozen=True, slots=True)
class Pin:
    """The newest block that the bank trusts: proofs for it start there."""

    epoch: Height
    height: Height
    block_hash: Hash


@dataclass(frozen=True, slots=True)
class RequestBody:
    """What a bank signs: what it asks, and what makes this question one of its own."""

    asked: Annotated[bytes, Octets(1, ASKED_SIZE_MAX)]
    chain_id: Hash
    nonce: Nonce
    answer_by_ms: Milliseconds
    pin: Pin
    texts: Hash | None

    def decoded_asked(self) -> Asked:
        """Return what is asked. Raises EncodingError or ItemsContradict."""
        asked = unpack(Asked, self.asked, size_max=ASKED_SIZE_MAX)
        check_items(asked.items)
        return asked


@dataclass(frozen=True, slots=True)
class Request:
    """A signed consent request, as it is stored and shown to the holder."""

    TAG: ClassVar[str] = "request"

    body: Annotated[bytes, Octets(1, REQUEST_SIZE_MAX)]
    signature: SignatureBytes

    @classmethod
    def sign(cls, body: RequestBody, key: PrivateKey) -> "Request":
        """Sign a request with the recipient's member key. Raises LedgerError for one that no reader takes."""
        body.decoded_asked()
        encoded = pack(body)
        signed = cls(encoded, key.sign(REQUEST_TAG, encoded))
        size = len(signed.encode())
        if size > REQUEST_FILE_SIZE_MAX:
            raise EncodingError(
                where="consent request",
                expected=f"at most {REQUEST_FILE_SIZE_MAX} bytes",
                found=f"{size}: fewer items, issuers or kinds make it smaller",
            )
        return signed

    @classmethod
    def decode(cls, data: bytes) -> "Request":
        """Decode the content of a request file, at most 2,300 bytes. Raises LedgerError."""
        request = unpack(
            cls, without_magic(data, REQUEST_MAGIC, "consent request"), size_max=REQUEST_SIZE_MAX
        )
        request.decoded().decoded_asked()
        return request

    def encode(self) -> bytes:
        """Return the content of a request file."""
        return REQUEST_MAGIC + pack(self)

    def decoded(self) -> RequestBody:
        """Return the decoded body. Raises EncodingError."""
        body = require_bytes("request body", self.body, cure="Make a request by decode or sign.")
        return unpack(RequestBody, body, size_max=REQUEST_SIZE_MAX)

    def verify(self, recipient_key: PublicKey) -> None:
        """Check the recipient's signature. Raises SignatureError."""
        recipient_key.verify(REQUEST_TAG, self.body, self.signature)

    @property
    def id(self) -> bytes:
        """The 32-byte id of this request: what a holder's list names, and a bank's own books."""
        return tagged_digest(REQUEST_ID_TAG, pack(self))


def check_items(items: tuple[Item, ...]) -> None:
    """Check that no document could answer two of these items, and that days are in order. Raises LedgerError."""
    issuers = {issuer for item in items for issuer in item.issuers}
    if len(issuers) > ISSUERS_MAX:
        raise EncodingError(
            where="items", expected=f"at most {ISSUERS_MAX} issuers in all", found=f"{len(issuers)}"
        )
    for number, item in enumerate(items):
        if item.covers is not None and item.covers.first > item.covers.last:
            raise EncodingError(
                where=f"days of item {number}",
                expected="a first day that is not after the last",
                found=f"{item.covers.first} to {item.covers.last}",
            )
    for (one, first), (other, second) in combinations(enumerate(items), 2):
        for schema in _shared(first, second):
            raise ItemsContradict(
                where=f"items {one} and {other}",
                expected="items of which no document answers two",
                found=f"schema {schema} in both, by issuers and of days that are not apart",
            )


def _shared(first: Item, second: Item) -> Iterator[str]:
    """Yield the schemas of which one document could answer both items."""
    apart = (
        first.covers is not None
        and second.covers is not None
        and (first.covers.last < second.covers.first or second.covers.last < first.covers.first)
    )
    by_others = first.issuers and second.issuers and not set(first.issuers) & set(second.issuers)
    if not apart and not by_others:
        yield from sorted(set(first.schemas) & set(second.schemas))
