"""What a validator must not forget: the records of its vote log (docs/consensus.md, What a node remembers).

Rule 1: records are only appended; replaying them in order restores every promise.
Rule 2: a record at or below the floor, or of another epoch, binds nobody any more and is skipped.
Rule 3: the amnesia record written last holds. One of an earlier epoch that is not over is asked about anew.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, cast

from ledger.encoding.codec import encode_checked
from ledger.encoding.records import Code, Hash, Height, to_value, unpack_union
from ledger.rules.certificates import QuorumCertificate, Vote

JOURNAL_RECORD_SIZE_MAX: Final = 16 * 1024

VALID: Final = "valid"
INVALID: Final = "invalid"


@dataclass(frozen=True, slots=True)
class VoteCast:
    """This validator's own vote, signed, perhaps sent."""

    TAG: ClassVar[str] = "vote-cast"

    vote: Vote


@dataclass(frozen=True, slots=True)
class CertificateHeld:
    """A certificate that was accepted."""

    TAG: ClassVar[str] = "certificate-held"

    certificate: QuorumCertificate


@dataclass(frozen=True, slots=True)
class CertifyVerdict:
    """What executing a notarized block here gave."""

    TAG: ClassVar[str] = "certify-verdict"

    epoch: Height
    view: Height
    block_hash: Hash
    verdict: Annotated[str, Code((VALID, INVALID))]


@dataclass(frozen=True, slots=True)
class Floor:
    """Views up to this one are final; nothing is ever signed in them again."""

    TAG: ClassVar[str] = "floor"

    epoch: Height
    view: Height


@dataclass(frozen=True, slots=True)
class Amnesia:
    """Votes may have been forgotten: sign nothing until finality is above `until_view`.

    None: not known yet, ask. 0: it is over. For a damaged vote log the driver appends one with None to the
    journal that it restores from.
    """

    TAG: ClassVar[str] = "amnesia"

    epoch: Height
    until_view: Height | None


JournalRecord: TypeAlias = VoteCast | CertificateHeld | CertifyVerdict | Floor | Amnesia


def encode_record(record: JournalRecord) -> bytes:
    """Return a record's canonical bytes."""
    return encode_checked(to_value(record))


def decode_record(data: bytes) -> JournalRecord:
    """Return the record that `data` encodes. Raises LedgerError."""
    return cast(JournalRecord, unpack_union(JournalRecord, data, size_max=JOURNAL_RECORD_SIZE_MAX))


def epoch_of_record(record: JournalRecord) -> int:
    """Return the epoch that a record belongs to."""
    match record:
        case VoteCast(vote):
            return vote.subject.epoch
        case CertificateHeld(certificate):
            return certificate.subject.epoch
        case CertifyVerdict() | Floor() | Amnesia():
            return record.epoch
