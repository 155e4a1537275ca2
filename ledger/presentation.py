"""Requests, consents and presentations: what passes between bank and holder, off chain.

Rule 1: a request is signed by the bank's member key. It fixes recipient, purpose, schemas, period and nonce.
Rule 2: a presentation is signed by the holder key and the consent key over one body: this document, this
recipient, this consent, this request's nonce. It is the only tie between document and consent.
Rule 3: a consent file holds the grant and the withdrawal prepared with it, so that a lost phone does not
take the withdrawal away.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from ledger.encoding.arguments import require_bytes
from ledger.encoding.codec import encode, encode_checked
from ledger.encoding.digests import keyed_digest, tagged_digest
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import (
    Hash,
    Height,
    MemberId,
    Milliseconds,
    Nonce,
    Octets,
    PurposeCode,
    SignatureBytes,
    pack,
    unpack,
)
from ledger.errors import EncodingError
from ledger.rules.operations import GRANT_TAG, WITHDRAWAL_TAG, Grant, GrantBody, Withdraw, WithdrawalBody
from ledger.rules.state import (
    CategoryMask,
    ConsentFlags,
    ConsentTerms,
    Direction,
    Schemas,
    TransferBasis,
    Uses,
)

REQUEST_TAG: Final = "luohu/request/1"
REQUEST_ID_TAG: Final = "luohu/request-id/1"
PRESENTATION_TAG: Final = "luohu/presentation/1"
TERMS_TAG: Final = "luohu/terms/1"

REQUEST_MAGIC: Final = b"LUOHU-REQUEST\x01"
CONSENT_MAGIC: Final = b"LUOHU-CONSENT\x01"
REQUEST_SIZE_MAX: Final = 1_024
REQUEST_FILE_SIZE_MAX: Final = len(REQUEST_MAGIC) + REQUEST_SIZE_MAX
CONSENT_FILE_SIZE_MAX: Final = 8_192


@dataclass(frozen=True, slots=True)
class Pin:
    """The newest block that the bank trusts: proofs for it start there."""

    epoch: Height
    height: Height
    block_hash: Hash


@dataclass(frozen=True, slots=True)
class RequestBody:
    """What a bank asks of a holder. Small enough for one QR code."""

    chain_id: Hash
    nonce: Nonce
    recipient: MemberId
    issuer: MemberId
    schemas: Schemas
    purpose: PurposeCode
    category_mask: CategoryMask
    direction: Direction
    transfer_basis: TransferBasis
    flags: ConsentFlags
    notice_version: Hash
    until_ms: Milliseconds
    uses: Uses
    pin: Pin


@dataclass(frozen=True, slots=True)
class Request:
    """A signed consent request, as it is stored and shown to the holder."""

    TAG: ClassVar[str] = "request"

    body: Annotated[bytes, Octets(1, REQUEST_SIZE_MAX)]
    signature: SignatureBytes

    @classmethod
    def sign(cls, body: RequestBody, key: PrivateKey) -> "Request":
        """Sign a request with the recipient's member key."""
        encoded = pack(body)
        return cls(encoded, key.sign(REQUEST_TAG, encoded))

    @classmethod
    def decode(cls, data: bytes) -> "Request":
        """Decode the content of a request file. Raises EncodingError."""
        request = unpack(
            cls, _without_magic(data, REQUEST_MAGIC, "consent request"), size_max=REQUEST_SIZE_MAX
        )
        request.decoded()
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

    def terms(self, *, salt: bytes, from_ms: int, receipt_hash: bytes | None = None) -> ConsentTerms:
        """Return the terms that answer this request. `salt` (32 bytes) hides what they commit to."""
        body = self.decoded()
        return ConsentTerms(
            issuer=body.issuer,
            recipient=body.recipient,
            schemas=body.schemas,
            purpose=body.purpose,
            category_mask=body.category_mask,
            direction=body.direction,
            transfer_basis=body.transfer_basis,
            flags=body.flags,
            notice_version=body.notice_version,
            terms_commitment=terms_commitment(self.body, salt=salt, receipt_hash=receipt_hash),
            from_ms=from_ms,
            until_ms=body.until_ms,
            uses=body.uses,
        )


@dataclass(frozen=True, slots=True)
class ConsentFile:
    """The request, the grant that answers it, its prepared withdrawal, and what opens its terms commitment.

    `receipt_hash` is that of the consent receipt which the holder was shown; None where there was none.
    """

    TAG: ClassVar[str] = "consent-file"

    request: Request
    grant: Grant
    withdrawal: Withdraw
    terms_salt: Hash
    receipt_hash: Hash | None

    @classmethod
    def decode(cls, data: bytes) -> "ConsentFile":
        """Decode and check the content of a consent file. Raises LedgerError."""
        encoded = _without_magic(data, CONSENT_MAGIC, "consent file")
        consent = unpack(cls, encoded, size_max=CONSENT_FILE_SIZE_MAX)
        consent.check()
        return consent

    def encode(self) -> bytes:
        """Return the content of a consent file."""
        return CONSENT_MAGIC + pack(self)

    @property
    def consent_id(self) -> bytes:
        """The consent's 32-byte id."""
        return self.grant.consent_id

    @property
    def consent_key(self) -> PublicKey:
        """The key that signed the grant."""
        return self.grant.decoded().consent_key

    def check(self) -> None:
        """Check that grant, withdrawal and request belong together. Raises LedgerError."""
        grant, withdrawal = self.grant.decoded(), self.withdrawal.decoded()
        self.grant.verify()
        self.withdrawal.verify()
        expected = WithdrawalBody(grant.chain_id, grant.consent_key, self.consent_id)
        if withdrawal != expected:
            raise EncodingError(
                where="consent file", expected="the withdrawal of its grant", found="that of another consent"
            )
        terms = self.request.terms(
            salt=self.terms_salt, from_ms=grant.terms.from_ms, receipt_hash=self.receipt_hash
        )
        if grant.terms != terms:
            raise EncodingError(
                where="consent file", expected="a grant that answers its request", found="other terms"
            )


def grant_consent(
    request: Request,
    key: PrivateKey,
    *,
    nonce: bytes,
    terms_salt: bytes,
    from_ms: int,
    submit_by_ms: int,
    receipt_hash: bytes | None = None,
) -> ConsentFile:
    """Return the consent that answers a request, with its withdrawal. `key` is fresh for each consent."""
    chain_id = request.decoded().chain_id
    terms = request.terms(salt=terms_salt, from_ms=from_ms, receipt_hash=receipt_hash)
    body = GrantBody(chain_id, nonce, submit_by_ms, key.public, terms)
    body_bytes = pack(body)
    grant = Grant(body_bytes, key.sign(GRANT_TAG, body_bytes))
    withdrawal_bytes = pack(WithdrawalBody(chain_id, key.public, grant.consent_id))
    withdrawal = Withdraw(withdrawal_bytes, key.sign(WITHDRAWAL_TAG, withdrawal_bytes))
    return ConsentFile(request, grant, withdrawal, terms_salt, receipt_hash)


@dataclass(frozen=True, slots=True)
class Presentation:
    """Two signatures over one body: of the holder key (None for bearer documents) and the consent key."""

    consent_key: PublicKey
    consent_id: Hash
    nonce: Nonce
    holder_signature: SignatureBytes | None
    consent_signature: SignatureBytes


def presentation_body(
    *, chain_id: bytes, commitment: bytes, recipient: str, key: PublicKey, consent_id: bytes, nonce: bytes
) -> bytes:
    """Return what holder key and consent key both sign. Its parts come from records, which checked them."""
    return encode_checked((chain_id, commitment, recipient, (key.algorithm, key.data), consent_id, nonce))


def terms_commitment(request_body: bytes, *, salt: bytes, receipt_hash: bytes | None) -> bytes:
    """Return what a consent says on the ledger of the request and of the receipt that the holder was shown."""
    return keyed_digest(salt, TERMS_TAG, encode((request_body, receipt_hash)))


def request_id(request: Request) -> bytes:
    """Return the 32-byte id of a request, for a bank's own books."""
    return tagged_digest(REQUEST_ID_TAG, pack(request))


def _without_magic(given: object, magic: bytes, what: str) -> bytes:
    data = require_bytes(what, given, cure="Give the content of the file: Path(path).read_bytes().")
    if not data.startswith(magic[:-1]):
        raise EncodingError(
            where=what, expected=f"a file that starts with {magic[:-1].decode()}", found=f"{data[:16]!a}"
        )
    if data[: len(magic)] != magic:
        raise EncodingError(
            where=what,
            expected=f"version {magic[-1]}",
            found=f"version {data[len(magic) - 1 : len(magic)]!a}",
        )
    return data[len(magic) :]
