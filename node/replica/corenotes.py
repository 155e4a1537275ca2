"""What stands in a core log, as records: an opening, each event with its time, what came of it (docs/core-log.md).

Rule 1: whatever the bytes, what is read is one of these records, or refused. Nothing in them names code.
Rule 2: sizes and counts are limited before memory is spent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, assert_never, cast

from ledger.encoding.records import (
    Code,
    Hash,
    Height,
    Items,
    MemberId,
    Milliseconds,
    R,
    Record,
    SignatureBytes,
    pack,
    unpack,
    unpack_union,
)
from ledger.errors import EncodingError
from ledger.rules.certificates import ValidatorIndex
from node.consensus.effects import (
    AmnesiaEnded,
    Broadcast,
    Build,
    CancelCertify,
    Certify,
    Effect,
    Finalized,
    Misbehaviour,
    Persist,
    Punish,
    RequestBlock,
    Send,
    Trace,
    Verify,
)
from node.consensus.events import (
    BlockAvailable,
    Built,
    Certified,
    Event,
    PeerDown,
    PeerUp,
    Received,
    Started,
    TimerFired,
    Verified,
    WorkChanged,
)
from node.consensus.image import Flag
from node.consensus.journal import VoteCast
from node.consensus.messages import Message

NOTE_SIZE_MAX: Final = 512 * 1024
EFFECTS_MAX: Final = 4_096

EFFECT_NAMES: Final = tuple(
    each.__name__
    for each in (
        Persist,
        Broadcast,
        Send,
        Build,
        Verify,
        Certify,
        CancelCertify,
        RequestBlock,
        Finalized,
        Misbehaviour,
        Punish,
        AmnesiaEnded,
        Trace,
    )
)


@dataclass(frozen=True, slots=True)
class Opening:
    """Whose core it is, made by which code, and how its clock relates to the calendar."""

    code: Hash
    chain_id: Hash
    member: MemberId
    epoch: Height
    monotonic_ms: Milliseconds
    wall_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class StartedNote:
    """`Started`."""

    TAG: ClassVar[str] = "started"

    now_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class ReceivedNote:
    """`Received`."""

    TAG: ClassVar[str] = "received"

    now_ms: Milliseconds
    peer: ValidatorIndex | None
    message: Message


@dataclass(frozen=True, slots=True)
class TimerFiredNote:
    """`TimerFired`."""

    TAG: ClassVar[str] = "timer-fired"

    now_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class BuiltNote:
    """`Built`."""

    TAG: ClassVar[str] = "built"

    now_ms: Milliseconds
    view: Height
    block_hash: Hash | None


@dataclass(frozen=True, slots=True)
class VerifiedNote:
    """`Verified`."""

    TAG: ClassVar[str] = "verified"

    now_ms: Milliseconds
    view: Height
    block_hash: Hash
    is_valid: Flag


@dataclass(frozen=True, slots=True)
class CertifiedNote:
    """`Certified`."""

    TAG: ClassVar[str] = "certified"

    now_ms: Milliseconds
    view: Height
    block_hash: Hash
    is_valid: Flag


@dataclass(frozen=True, slots=True)
class WorkChangedNote:
    """`WorkChanged`."""

    TAG: ClassVar[str] = "work-changed"

    now_ms: Milliseconds
    has_work: Flag


@dataclass(frozen=True, slots=True)
class PeerUpNote:
    """`PeerUp`."""

    TAG: ClassVar[str] = "peer-up"

    now_ms: Milliseconds
    peer: ValidatorIndex


@dataclass(frozen=True, slots=True)
class PeerDownNote:
    """`PeerDown`."""

    TAG: ClassVar[str] = "peer-down"

    now_ms: Milliseconds
    peer: ValidatorIndex


@dataclass(frozen=True, slots=True)
class BlockAvailableNote:
    """`BlockAvailable`."""

    TAG: ClassVar[str] = "block-available"

    now_ms: Milliseconds
    block_hash: Hash


EventNote: TypeAlias = (
    StartedNote
    | ReceivedNote
    | TimerFiredNote
    | BuiltNote
    | VerifiedNote
    | CertifiedNote
    | WorkChangedNote
    | PeerUpNote
    | PeerDownNote
    | BlockAvailableNote
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The names of the effects that came of an event, in order, and the signatures of the own votes among them."""

    effects: Annotated[tuple[Annotated[str, Code(EFFECT_NAMES)], ...], Items(EFFECTS_MAX)]
    signatures: Annotated[tuple[SignatureBytes, ...], Items(EFFECTS_MAX)]


def encode_note(note: Record) -> bytes:
    """Return the bytes of anything that stands in a core log. Raises EncodingError where it is larger than allowed."""
    content = pack(note)
    if len(content) > NOTE_SIZE_MAX:
        raise EncodingError(where="note", expected=f"at most {NOTE_SIZE_MAX} bytes", found=f"{len(content)}")
    return content


def decode_note(shape: type[R], content: bytes) -> R:
    """Return the record of a shape that stands in a core log. Raises LedgerError."""
    return unpack(shape, content, size_max=NOTE_SIZE_MAX)


def encode_event(event: Event, now_ms: int) -> bytes:
    """Return the bytes of an event with its time. Raises EncodingError where a part of it has no encoding."""
    return encode_note(_note_of(event, now_ms))


def decode_event(content: bytes) -> tuple[int, Event]:
    """Return a time and the event that happened then. Raises LedgerError."""
    note = cast(EventNote, unpack_union(EventNote, content, size_max=NOTE_SIZE_MAX))
    return note.now_ms, _event_of(note)


def outcome_of(effects: Sequence[Effect]) -> Outcome:
    """Return what stands in the log of effects."""
    names = tuple(type(effect).__name__ for effect in effects)
    persisted = (record for effect in effects if isinstance(effect, Persist) for record in effect.records)
    return Outcome(
        names, tuple(record.vote.signature for record in persisted if isinstance(record, VoteCast))
    )


def _note_of(event: Event, now_ms: int) -> EventNote:
    match event:
        case Received(peer, message):
            return ReceivedNote(now_ms, peer, message)
        case TimerFired():
            return TimerFiredNote(now_ms)
        case Verified(view, block_hash, is_valid):
            return VerifiedNote(now_ms, view, block_hash, int(is_valid))
        case Certified(view, block_hash, is_valid):
            return CertifiedNote(now_ms, view, block_hash, int(is_valid))
        case Built(view, built_hash):
            return BuiltNote(now_ms, view, built_hash)
        case WorkChanged(has_work):
            return WorkChangedNote(now_ms, int(has_work))
        case BlockAvailable(block_hash):
            return BlockAvailableNote(now_ms, block_hash)
        case PeerUp(up):
            return PeerUpNote(now_ms, up)
        case PeerDown(down):
            return PeerDownNote(now_ms, down)
        case Started():
            return StartedNote(now_ms)
        case _:
            assert_never(event)


def _event_of(note: EventNote) -> Event:
    match note:
        case ReceivedNote():
            return Received(note.peer, note.message)
        case TimerFiredNote():
            return TimerFired()
        case VerifiedNote():
            return Verified(note.view, note.block_hash, bool(note.is_valid))
        case CertifiedNote():
            return Certified(note.view, note.block_hash, bool(note.is_valid))
        case BuiltNote():
            return Built(note.view, note.block_hash)
        case WorkChangedNote():
            return WorkChanged(bool(note.has_work))
        case BlockAvailableNote():
            return BlockAvailable(note.block_hash)
        case PeerUpNote():
            return PeerUp(note.peer)
        case PeerDownNote():
            return PeerDown(note.peer)
        case StartedNote():
            return Started()
        case _:
            assert_never(note)
