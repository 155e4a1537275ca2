"""What validators say to each other: canonical tagged records (docs/formats.md, Consensus messages).

Rule 1: a message is at most MESSAGE_SIZE_MAX bytes and decodes only as one of these records.
Rule 2: whatever a message claims is proven by a vote or certificate in it, except statuses, which only ever
make a node send something or start a clock.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, cast

from ledger.encoding.codec import encode_checked
from ledger.encoding.records import Code, Height, Items, to_value, unpack_union
from ledger.rules.certificates import Kind, QuorumCertificate, Vote

MESSAGE_SIZE_MAX: Final = 32 * 1024
ANSWER_VOTES_MAX: Final = 16
ANSWER_CERTIFICATES_MAX: Final = 2

IDLE: Final = "idle"
WAITING: Final = "waiting"
WORK: Final = "work"

Pace = Annotated[str, Code((IDLE, WAITING, WORK))]


@dataclass(frozen=True, slots=True)
class BlockProposalMessage:
    """The leader's own notarize vote. The block travels beside it, in the driver's envelope."""

    TAG: ClassVar[str] = "proposal"

    vote: Vote


@dataclass(frozen=True, slots=True)
class VoteMessage:
    """A vote, from its signer."""

    TAG: ClassVar[str] = "vote"

    vote: Vote


@dataclass(frozen=True, slots=True)
class CertificateMessage:
    """A quorum certificate, from anybody: relayed, re-sent, or in answer to a request."""

    TAG: ClassVar[str] = "certificate"

    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """Ask for a certificate of this kind and view, or one that settles the view."""

    TAG: ClassVar[str] = "certificate-request"

    epoch: Height
    view: Height
    kind: Kind


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """Where the sender is, and whether it waits for a proposal there (C13, C17)."""

    TAG: ClassVar[str] = "status"

    epoch: Height
    finalized_view: Height
    current_view: Height
    pace: Pace


@dataclass(frozen=True, slots=True)
class LatestVoteRequest:
    """Ask for the latest votes of the sender that the receiver holds (C18)."""

    TAG: ClassVar[str] = "latest-vote-request"

    epoch: Height


@dataclass(frozen=True, slots=True)
class LatestVoteAnswer:
    """The asker's latest votes, newest view first; the answerer's finalization and highest certificate."""

    TAG: ClassVar[str] = "latest-vote-answer"

    epoch: Height
    votes: Annotated[tuple[Vote, ...], Items(ANSWER_VOTES_MAX)]
    certificates: Annotated[tuple[QuorumCertificate, ...], Items(ANSWER_CERTIFICATES_MAX)]


Message: TypeAlias = (
    BlockProposalMessage
    | VoteMessage
    | CertificateMessage
    | CertificateRequest
    | StatusMessage
    | LatestVoteRequest
    | LatestVoteAnswer
)


def encode_message(message: Message) -> bytes:
    """Return a message's canonical bytes."""
    return encode_checked(to_value(message))


def decode_message(data: bytes) -> Message:
    """Return the message that `data` encodes. Raises LedgerError."""
    return cast(Message, unpack_union(Message, data, size_max=MESSAGE_SIZE_MAX))


def epoch_of(message: Message) -> int:
    """Return the epoch that a message belongs to."""
    match message:
        case BlockProposalMessage(vote) | VoteMessage(vote):
            return vote.subject.epoch
        case CertificateMessage(certificate):
            return certificate.subject.epoch
        case CertificateRequest() | StatusMessage() | LatestVoteRequest() | LatestVoteAnswer():
            return message.epoch
