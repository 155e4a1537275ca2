"""Votes and quorum certificates (docs/formats.md, Votes; docs/consensus.md).

Rule 1: a vote is signed under a tag of its kind, over chain id, epoch and view first, so that no vote can be
replayed as another kind, in another view, epoch or chain.
Rule 2: a certificate holds exactly one subject and at least a quorum of signatures by distinct validators of
the epoch's set, indices strictly increasing, every one of them verified.
Rule 3: f = (n - 1) // 3 validators may be faulty; a quorum is n - f, so two quorums share an honest one.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from ledger.encoding.codec import encode
from ledger.encoding.digests import tagged_digest
from ledger.encoding.keys import PublicKey
from ledger.encoding.records import Code, Hash, Height, Items, MemberId, SignatureBytes, Uint, pack
from ledger.errors import LedgerError

VALIDATORS_MAX: Final = 64

NOTARIZE: Final = "notarize"
NULLIFY: Final = "nullify"
FINALIZE: Final = "finalize"

Kind = Annotated[str, Code((NOTARIZE, NULLIFY, FINALIZE))]
ValidatorIndex = Annotated[int, Uint(VALIDATORS_MAX - 1)]

VOTE_TAGS: Final = {kind: f"luohu/vote/{kind}/1" for kind in (NOTARIZE, NULLIFY, FINALIZE)}
VALIDATORS_TAG: Final = "luohu/validators/1"


class CertificateError(LedgerError):
    """A quorum certificate that does not prove what it claims."""

    code = "certificate"


@dataclass(frozen=True, slots=True)
class Validator:
    """A validator of one epoch: the member that runs it and the key it votes with."""

    member: MemberId
    key: PublicKey


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """The validators of one epoch, ordered by member id; votes name them by index from 0."""

    validators: Annotated[tuple[Validator, ...], Items(VALIDATORS_MAX, minimum=1)]

    def __post_init__(self) -> None:
        members = [validator.member for validator in self.validators]
        keys = {validator.key for validator in self.validators}
        if members != sorted(set(members)) or len(keys) != len(members):
            raise CertificateError(
                where="validator set",
                expected="distinct members in order, each with its own key",
                found=f"{members}",
            )

    def __len__(self) -> int:
        return len(self.validators)

    @property
    def faulty_max(self) -> int:
        """How many validators may be faulty: (n - 1) // 3."""
        return (len(self.validators) - 1) // 3

    @property
    def quorum(self) -> int:
        """How many validators must sign: n - f."""
        return len(self.validators) - self.faulty_max

    def index_of(self, member: str) -> int | None:
        """Return the index of a member's validator, or None."""
        for index, validator in enumerate(self.validators):
            if validator.member == member:
                return index
        return None

    def digest(self) -> bytes:
        """Return the 32-byte hash that headers name this set by."""
        return tagged_digest(VALIDATORS_TAG, pack(self))


@dataclass(frozen=True, slots=True)
class Subject:
    """What a vote or certificate is about. A nullify names no block: parent view and hash are None."""

    kind: Kind
    epoch: Height
    view: Height
    parent_view: Height | None
    block_hash: Hash | None

    def __post_init__(self) -> None:
        named = (self.parent_view is not None, self.block_hash is not None)
        if named != ((False, False) if self.kind == NULLIFY else (True, True)):
            raise CertificateError(
                where="vote subject",
                expected="a block for notarize and finalize only",
                found=f"{self.kind} {named}",
            )

    def body(self, chain_id: bytes) -> bytes:
        """Return the bytes that are signed, under the tag of the kind."""
        if self.kind == NULLIFY:
            return encode((chain_id, self.epoch, self.view))
        return encode((chain_id, self.epoch, self.view, self.parent_view, self.block_hash))


@dataclass(frozen=True, slots=True)
class Vote:
    """One validator's signed vote."""

    subject: Subject
    signer: ValidatorIndex
    signature: SignatureBytes

    def verify(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Check the signature. Raises CertificateError or SignatureError."""
        if self.signer >= len(validators):
            raise CertificateError(
                where="vote signer", expected=f"an index below {len(validators)}", found=f"{self.signer}"
            )
        key = validators.validators[self.signer].key
        key.verify(VOTE_TAGS[self.subject.kind], self.subject.body(chain_id), self.signature)


@dataclass(frozen=True, slots=True)
class SignedBy:
    """One signature of a certificate."""

    signer: ValidatorIndex
    signature: SignatureBytes


@dataclass(frozen=True, slots=True)
class QuorumCertificate:
    """A subject with the signatures of a quorum."""

    subject: Subject
    signatures: Annotated[tuple[SignedBy, ...], Items(VALIDATORS_MAX, minimum=1)]

    def verify(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Check quorum, order and every signature. Raises CertificateError or SignatureError."""
        self.check_signers(validators)
        tag, body = VOTE_TAGS[self.subject.kind], self.subject.body(chain_id)
        for signed in self.signatures:
            validators.validators[signed.signer].key.verify(tag, body, signed.signature)

    def check_signers(self, validators: ValidatorSet) -> None:
        """Check that the signers are a quorum of distinct validators, in order. Raises CertificateError."""
        signers = [signed.signer for signed in self.signatures]
        if signers != sorted(set(signers)):
            raise CertificateError(
                where="certificate signers", expected="strictly increasing indices", found=f"{signers}"
            )
        if len(signers) < validators.quorum:
            raise CertificateError(
                where="certificate signers",
                expected=f"at least {validators.quorum} of {len(validators)}",
                found=f"{len(signers)}",
            )
        if signers[-1] >= len(validators):
            raise CertificateError(
                where="certificate signers", expected=f"indices below {len(validators)}", found=f"{signers}"
            )
