"""Consents: the holder's answer to a request, as it is kept off chain (docs/presenting.md).

Rule 1: a consent is given to what a request asks, byte for byte, and to the receipt that the holder was shown. The
ledger holds a commitment to both, and neither.
Rule 2: a consent file holds the grant and the withdrawal prepared with it, so that a lost phone does not
take the withdrawal away.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from ledger.encoding.codec import encode
from ledger.encoding.digests import keyed_digest
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import Hash, pack, unpack
from ledger.errors import EncodingError
from ledger.magics import without_magic
from ledger.requests import Asked, Request
from ledger.rules.operations import GRANT_TAG, WITHDRAWAL_TAG, Grant, GrantBody, Withdraw, WithdrawalBody
from ledger.rules.state import ConsentTerms

TERMS_TAG: Final = "luohu/terms/2"
CONSENT_MAGIC: Final = b"LUOHU-CONSENT\x02"
CONSENT_FILE_SIZE_MAX: Final = 8_192


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
        encoded = without_magic(data, CONSENT_MAGIC, "consent file")
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

    @property
    def asked(self) -> Asked:
        """What the holder agreed to."""
        return self.request.decoded().decoded_asked()

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
        terms = terms_for(
            self.request, salt=self.terms_salt, from_ms=grant.terms.from_ms, receipt_hash=self.receipt_hash
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
    terms = terms_for(request, salt=terms_salt, from_ms=from_ms, receipt_hash=receipt_hash)
    body = GrantBody(chain_id, nonce, submit_by_ms, key.public, terms)
    body_bytes = pack(body)
    grant = Grant(body_bytes, key.sign(GRANT_TAG, body_bytes))
    withdrawal_bytes = pack(WithdrawalBody(chain_id, key.public, grant.consent_id))
    withdrawal = Withdraw(withdrawal_bytes, key.sign(WITHDRAWAL_TAG, withdrawal_bytes))
    return ConsentFile(request, grant, withdrawal, terms_salt, receipt_hash)


def terms_for(
    request: Request, *, salt: bytes, from_ms: int, receipt_hash: bytes | None = None
) -> ConsentTerms:
    """Return the terms that answer a request. `salt` (32 bytes) hides what they commit to."""
    body = request.decoded()
    asked = body.decoded_asked()
    return ConsentTerms(
        recipient=asked.recipient,
        purpose=asked.purpose,
        sources=asked.sources,
        flags=asked.flags,
        notice_version=asked.notice_version,
        terms_commitment=terms_commitment(body.asked, salt=salt, receipt_hash=receipt_hash),
        from_ms=from_ms,
        until_ms=asked.until_ms,
        uses=asked.uses,
    )


def terms_commitment(asked: bytes, *, salt: bytes, receipt_hash: bytes | None) -> bytes:
    """Return what a consent says on the ledger of what was asked and of the receipt that the holder was shown."""
    return keyed_digest(salt, TERMS_TAG, encode((asked, receipt_hash)))
