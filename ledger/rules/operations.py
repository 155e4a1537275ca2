"""Operations: everything that can change the ledger (docs/formats.md, Operations).

Rule 1: an operation holds fixed-size bytes, integers, identifiers of registered things and codes, and nothing
else: there is no field in which personal data could land. Keys and holders' signatures have the one size that their
algorithm gives them. The one exception are members' names, which appear in proposals and take effect by the governors'
votes.
Rule 2: a holder's grant and withdrawal are bodies signed by the consent key itself and carried by any member.
Rule 3: a consent's id is the hash of the signed grant body, which holds chain id, nonce and deadline.
Rule 4: an operation answers for every signature that it carries: by which key, over what. What it does not answer
for, nobody verifies.
Rule 5: an operation is recorded once, for ever: its effect leaves what refuses it from then on, whatever governors
undo (docs/formats.md, Effects of operations).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, get_args

from ledger.encoding.codec import encode
from ledger.encoding.digests import tagged_digest
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import (
    Code,
    Hash,
    Height,
    HolderSignatureBytes,
    Integer,
    Milliseconds,
    Nonce,
    Octets,
    SchemaCode,
    SignatureBytes,
    Uint,
    pack,
    to_value,
    unpack,
)
from ledger.errors import LedgerError
from ledger.rules.certificates import VOTE_TAGS, Vote
from ledger.rules.proposals import (
    POSSESSION_TAG,
    Change,
    Choice,
    Registering,
    possession_body,
    proposal_id,
    shown_keys,
)
from ledger.rules.state import ConsentTerms, LeafCount, Outcome, RevocationReason
from ledger.rules.tlscertificates import TlsCertificate

GRANT_TAG: Final = "luohu/grant/1"
CONSENT_TAG: Final = "luohu/consent/1"
WITHDRAWAL_TAG: Final = "luohu/withdrawal/1"
NEXT_KEY_TAG: Final = "luohu/next-key/1"
ROTATION_TAG: Final = "luohu/rotation/1"
TLS_CERTIFICATE_TAG: Final = "luohu/tls-certificate/1"

GRANT_BODY_SIZE_MAX: Final = 1_024
WITHDRAWAL_BODY_SIZE_MAX: Final = 128

MEMBER_KEY: Final = "member"
VALIDATOR_KEY: Final = "validator"
TLS_KEY: Final = "tls"


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A signature, with the key that made it, the tag that says for what, and what it is over."""

    key: PublicKey
    tag: str
    body: bytes
    signature: bytes

    def verify(self) -> None:
        """Check the signature. Raises SignatureError."""
        self.key.verify(self.tag, self.body, self.signature)


@dataclass(frozen=True, slots=True)
class AnchorBatch:
    """By an issuer: anchor the root of a batch of `leaf_count` commitments of one schema."""

    TAG: ClassVar[str] = "anchor"

    root: Hash
    leaf_count: LeafCount
    schema: SchemaCode
    expires_ms: Milliseconds | None

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class RevokeDocument:
    """By its issuer: revoke one commitment."""

    TAG: ClassVar[str] = "revoke"

    commitment: Hash
    reason: RevocationReason

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class RevokeAnchor:
    """By its issuer: revoke a whole anchor."""

    TAG: ClassVar[str] = "revoke_anchor"

    root: Hash
    reason: RevocationReason

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class GrantBody:
    """What a holder signs to grant a consent. It may be recorded until `submit_by_ms`."""

    chain_id: Hash
    nonce: Nonce
    submit_by_ms: Milliseconds
    consent_key: PublicKey
    terms: ConsentTerms


@dataclass(frozen=True, slots=True)
class Grant:
    """Relayed by any member: a holder's grant, signed by the consent key."""

    TAG: ClassVar[str] = "grant"

    body: Annotated[bytes, Octets(1, GRANT_BODY_SIZE_MAX)]
    signature: HolderSignatureBytes

    def decoded(self) -> GrantBody:
        """Return the decoded body. Raises EncodingError."""
        return unpack(GrantBody, self.body, size_max=GRANT_BODY_SIZE_MAX)

    @property
    def consent_id(self) -> bytes:
        """The consent's id: the 32-byte hash of the signed body."""
        return tagged_digest(CONSENT_TAG, self.body)

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return (self._signed(),)

    def verify(self) -> None:
        """Check the consent key's signature. Raises EncodingError or SignatureError."""
        self._signed().verify()

    def _signed(self) -> SignedMessage:
        return SignedMessage(self.decoded().consent_key, GRANT_TAG, self.body, self.signature)


@dataclass(frozen=True, slots=True)
class WithdrawalBody:
    """What a holder signs, possibly long in advance, to withdraw a consent."""

    chain_id: Hash
    consent_key: PublicKey
    consent_id: Hash


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Relayed by any member: a holder's withdrawal, signed by the consent key. It has no deadline."""

    TAG: ClassVar[str] = "withdraw"

    body: Annotated[bytes, Octets(1, WITHDRAWAL_BODY_SIZE_MAX)]
    signature: HolderSignatureBytes

    def decoded(self) -> WithdrawalBody:
        """Return the decoded body. Raises EncodingError."""
        return unpack(WithdrawalBody, self.body, size_max=WITHDRAWAL_BODY_SIZE_MAX)

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return (self._signed(),)

    def verify(self) -> None:
        """Check the consent key's signature. Raises EncodingError or SignatureError."""
        self._signed().verify()

    def _signed(self) -> SignedMessage:
        return SignedMessage(self.decoded().consent_key, WITHDRAWAL_TAG, self.body, self.signature)


@dataclass(frozen=True, slots=True)
class CloseConsent:
    """By the recipient: end an existing consent that names it."""

    TAG: ClassVar[str] = "close_consent"

    consent_key: PublicKey
    consent_id: Hash

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class RecordVerification:
    """By the recipient: a request was answered, and what was shown verified, under this slot of the consent.

    The use tag is an HMAC under the salt of the terms, so it can be opened only off chain.
    """

    TAG: ClassVar[str] = "record_verification"

    consent_key: PublicKey
    consent_id: Hash
    slot: Annotated[int, Uint(9_999)]
    use_tag: Hash
    outcome: Outcome

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class RotateKey:
    """By a member: replace its key, or its validator's, by the one whose hash it committed to before.

    `next_key` commits to the one after it. The revealed `key` signs.
    """

    TAG: ClassVar[str] = "rotate_key"

    role: Annotated[str, Code((MEMBER_KEY, VALIDATOR_KEY))]
    sequence: Integer
    key: PublicKey
    next_key: Hash
    signature: SignatureBytes

    def signed_body(self, *, chain_id: bytes, member: str) -> bytes:
        """Return what the revealed key signs."""
        return rotation_body(
            chain_id=chain_id,
            member=member,
            role=self.role,
            sequence=self.sequence,
            key=self.key,
            next_key=self.next_key,
        )

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        body = self.signed_body(chain_id=chain_id, member=sender)
        return (SignedMessage(self.key, ROTATION_TAG, body, self.signature),)


@dataclass(frozen=True, slots=True)
class RotateTls:
    """By a member: replace its node's TLS certificate.

    `key` is the member's next key, which signs but stays next: a thief of the current key does not have it.
    """

    TAG: ClassVar[str] = "rotate_tls"

    sequence: Integer
    certificate: TlsCertificate
    key: PublicKey
    signature: SignatureBytes

    def signed_body(self, *, chain_id: bytes, member: str) -> bytes:
        """Return what the member's next key signs."""
        return rotation_body(
            chain_id=chain_id,
            member=member,
            role=TLS_KEY,
            sequence=self.sequence,
            key=self.key,
            next_key=tagged_digest(TLS_CERTIFICATE_TAG, pack(self.certificate)),
        )

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        body = self.signed_body(chain_id=chain_id, member=sender)
        return (SignedMessage(self.key, ROTATION_TAG, body, self.signature),)


@dataclass(frozen=True, slots=True)
class SuspendSelf:
    """By any active member: suspend itself at once, as its suspension of this number, counted from 0.

    Its anchors from the height `distrust_from` on never verify. Governors alone end the suspension.
    """

    TAG: ClassVar[str] = "suspend_self"

    number: Integer
    distrust_from: Height

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Propose:
    """By a governor: propose a change of the record version that it expects, None where there is no record."""

    TAG: ClassVar[str] = "propose"

    change: Change
    expected_version: Integer | None
    expires_ms: Milliseconds

    def proposal_id(self, *, chain_id: bytes, proposer: str) -> bytes:
        """Return the 32-byte id that this proposal has when `proposer` sends it."""
        return proposal_id(chain_id=chain_id, proposer=proposer, proposed=to_value(self))

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        change = self.change
        if not isinstance(change, Registering):
            return ()
        body = possession_body(change)
        return tuple(
            SignedMessage(key, POSSESSION_TAG, body, signature)
            for key, signature in shown_keys(change)
            if key is not None and signature is not None
        )


@dataclass(frozen=True, slots=True)
class CastVote:
    """By a governor: vote on a proposal, once and for all."""

    TAG: ClassVar[str] = "vote"

    proposal: Hash
    choice: Choice

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class ReportMisbehaviour:
    """By a validator: two votes of one validator that exclude each other, both signed by `key`."""

    TAG: ClassVar[str] = "report_misbehaviour"

    key: PublicKey
    first: Vote
    second: Vote

    def signed_messages(self, *, chain_id: bytes, sender: str) -> tuple[SignedMessage, ...]:
        return tuple(
            SignedMessage(self.key, VOTE_TAGS[vote.subject.kind], vote.subject.body(chain_id), vote.signature)
            for vote in (self.first, self.second)
        )


Operation: TypeAlias = (
    AnchorBatch
    | RevokeDocument
    | RevokeAnchor
    | Grant
    | Withdraw
    | CloseConsent
    | RecordVerification
    | RotateKey
    | RotateTls
    | SuspendSelf
    | Propose
    | CastVote
    | ReportMisbehaviour
)
OPERATION_CLASSES: Final[tuple[type[Operation], ...]] = get_args(Operation)


def next_key_commitment(key: PublicKey) -> bytes:
    """Return the 32-byte commitment to a key that a later rotation will reveal."""
    return tagged_digest(NEXT_KEY_TAG, pack(key))


def rotation_body(
    *, chain_id: bytes, member: str, role: str, sequence: int, key: PublicKey, next_key: bytes
) -> bytes:
    """Return what the revealed key signs in a rotation."""
    return encode((chain_id, member, role, sequence, (key.algorithm, key.data), next_key))


def check_chain(chain_id: bytes, found: bytes, what: str) -> None:
    """Check that a signed body belongs to this chain. Raises LedgerError."""
    if found != chain_id:
        raise WrongChain(where=what, expected=f"chain {chain_id.hex()}", found=found.hex())


class WrongChain(LedgerError):
    """Something signed for another chain."""

    code = "wrong-chain"
