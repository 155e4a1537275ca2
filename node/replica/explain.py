"""What a node's core decided, made again from its core log (docs/core-log.md).

Rule 1: the core is told what it was told, when it was told; it checks the signatures of others itself.
Rule 2: its own signatures come from the log. One that is wanted and not there, and other effects than those on
record, are deviations. They are told, and the replay goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.encoding.records import R
from ledger.errors import LedgerError
from ledger.rules.certificates import QuorumCertificate, Subject, ValidatorSet, Vote
from node.consensus.core import Simplex
from node.consensus.effects import Effect
from node.consensus.events import Event, PeerDown, PeerUp, Received
from node.consensus.image import CoreImage, RoundImage, make_core
from node.replica.corelog import CoreLogError, code_digest, other_code, read_frames
from node.replica.corenotes import Opening, Outcome, decode_event, decode_note, outcome_of
from node.replica.engine import is_genuine

_CURE = "Nothing of it is believed. Take the file again from where it was written."


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's opening, and the validators that the log itself names: whose core it says that it is."""

    path: Path
    opening: Opening
    validators: ValidatorSet | None


@dataclass(frozen=True, slots=True)
class Decision:
    """One event and what the core made of it, at a time in milliseconds of the Unix epoch.

    `members` are the epoch's validators, which both name by index. `view` is where the core then was. `failure` is the
    error with which it ended the node. `deviation` says what is not as it was recorded.
    """

    time_ms: int
    event: Event
    members: tuple[str, ...]
    view: int
    effects: tuple[Effect, ...]
    failure: str | None
    deviation: str | None


class NotOnRecord(Exception):
    """The core wants a signature that the log does not hold."""


class _Signatures:
    """The node's own signatures of one event, in order."""

    def __init__(self) -> None:
        self.left: list[bytes] = []

    def sign(self, subject: Subject) -> bytes:
        if not self.left:
            raise NotOnRecord(f"a signature on {subject}")
        return self.left.pop(0)


def open_segment(path: Path) -> Segment:
    """Return whose a segment is. Raises CoreLogError, or OSError where it cannot be read."""
    frames = read_frames(path)
    opening = _read_opening(f"{path}", frames)
    state = next(frames, None)
    return Segment(path, opening, None if state is None else _read(f"{path}", CoreImage, state).validators)


def replay(path: Path) -> Iterator[Decision]:
    """Yield the decisions of a segment, made again. Raises CoreLogError where it is damaged or of other code."""
    return replay_frames(f"{path}", read_frames(path))


def replay_frames(where: str, frames: Iterator[bytes]) -> Iterator[Decision]:
    """Yield the decisions of a segment from the contents of its frames; `where` names it in errors."""
    opening = _read_opening(where, frames)
    signatures = _Signatures()
    core = _read_core(where, opening, frames, signatures)
    if core is None:
        return
    for frame in frames:
        now_ms, event = _read_event(where, frame, core.validators)
        following = next(frames, None)
        outcome = None if following is None else _read(where, Outcome, following)
        time_ms = opening.wall_ms + now_ms - opening.monotonic_ms
        yield _decide(core, signatures, time_ms, now_ms, event, outcome)


def _read_core(
    where: str, opening: Opening, frames: Iterator[bytes], signatures: _Signatures
) -> Simplex | None:
    """Return the core as it was when the segment began; None where the file ends before it is whole."""
    state = next(frames, None)
    if state is None:
        return None
    image = _read(where, CoreImage, state)
    rounds: list[RoundImage] = []
    while len(rounds) < image.rounds_count:
        frame = next(frames, None)
        if frame is None:
            return None
        rounds.append(_read(where, RoundImage, frame))

    def verify(signed: Vote | QuorumCertificate) -> bool:
        return is_genuine(signed, opening.chain_id, image.validators)

    if image.epoch != opening.epoch:
        raise _refused(where, f"the core of epoch {opening.epoch}", f"one of epoch {image.epoch}")
    try:
        return make_core(image, rounds, sign=signatures.sign, verify=verify)
    except LedgerError as error:
        raise _refused(where, error.expected, error.found) from error


def _decide(
    core: Simplex, signatures: _Signatures, time_ms: int, now_ms: int, event: Event, recorded: Outcome | None
) -> Decision:
    # Without an outcome the core ended the node, or the process was killed before it was written.
    signatures.left = [] if recorded is None else list(recorded.signatures)
    members = tuple(each.member for each in core.validators.validators)
    try:
        effects = core.handle(event, now_ms)
    except Exception as error:  # noqa: BLE001  Whatever the core ended with is what is wanted here.
        failure = f"{type(error).__name__}: {error}"
        deviation = None if recorded is None else f"recorded {_names(recorded)}, made again {failure}"
        return Decision(time_ms, event, members, core.current_view, (), failure, deviation)
    again = outcome_of(effects)
    deviation = None
    if recorded is not None and again != recorded:
        deviation = f"recorded {_names(recorded)}, made again {_names(again)}"
    return Decision(time_ms, event, members, core.current_view, tuple(effects), None, deviation)


def _names(outcome: Outcome) -> str:
    return f"{' '.join(outcome.effects) or 'nothing'} with {len(outcome.signatures)} signatures"


def _read_opening(where: str, frames: Iterator[bytes]) -> Opening:
    first = next(frames, None)
    if first is None:
        raise _refused(where, "an opening", "nothing")
    opening = _read(where, Opening, first)
    if opening.code != code_digest():
        raise other_code(where, opening.code)
    return opening


def _read(where: str, shape: type[R], content: bytes) -> R:
    try:
        return decode_note(shape, content)
    except LedgerError as error:
        raise _refused(where, error.expected, error.found) from error


def _read_event(where: str, content: bytes, validators: ValidatorSet) -> tuple[int, Event]:
    try:
        now_ms, event = decode_event(content)
    except LedgerError as error:
        raise _refused(where, error.expected, error.found) from error
    match event:
        case Received(int(peer)) | PeerUp(peer) | PeerDown(peer) if peer >= len(validators):
            raise _refused(where, f"one of {len(validators)} validators", f"number {peer}")
        case _:
            return now_ms, event


def _refused(where: str, expected: str, found: str) -> CoreLogError:
    return CoreLogError(where=where, expected=expected, found=found, cure=_CURE)
