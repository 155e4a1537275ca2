"""What a node's core decided, made again from its core log (docs/core-log.md).

Rule 1: the core is told what it was told, when it was told; it checks the signatures of others itself.
Rule 2: its own signatures come from the log. One that is wanted and not there, and other effects than those on
record, are deviations. They are told, and the replay goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.rules.certificates import QuorumCertificate, Subject, Vote
from node.consensus.core import Simplex
from node.consensus.effects import Effect
from node.consensus.events import Event
from node.replica.corelog import VERSION, CoreLogError, code_digest, outcome_of, read_frames, thaw, thaw_any
from node.replica.engine import is_genuine


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's opening: whose core it is, and how its clock relates to the calendar."""

    path: Path
    chain_id: bytes
    member: str
    epoch: int
    monotonic_ms: int
    wall_ms: int


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
    """Return a segment's opening. Raises CoreLogError, or OSError where it cannot be read."""
    return _read_opening(path, read_frames(path))


def replay(path: Path) -> Iterator[Decision]:
    """Yield the decisions of a segment, made again. Raises CoreLogError where it is damaged or of other code."""
    frames = read_frames(path)
    segment = _read_opening(path, frames)
    state = next(frames, None)
    if state is None:
        return

    def verify(signed: Vote | QuorumCertificate) -> bool:
        return is_genuine(signed, segment.chain_id, core.validators)

    signatures = _Signatures()
    core = thaw(state, signatures.sign, verify)
    for frame in frames:
        now_ms, event = _read_event(path, frame)
        outcome = next(frames, None)
        time_ms = segment.wall_ms + now_ms - segment.monotonic_ms
        yield _decide(core, signatures, time_ms, now_ms, event, outcome)


def _decide(
    core: Simplex, signatures: _Signatures, time_ms: int, now_ms: int, event: Event, outcome: bytes | None
) -> Decision:
    # Without an outcome the core ended the node, or the process was killed before it was written.
    recorded = None if outcome is None else thaw_any(outcome)
    signatures.left = list(recorded[1]) if isinstance(recorded, tuple) else []
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


def _names(outcome: object) -> str:
    assert isinstance(outcome, tuple), "an outcome is names and signatures"
    names, signatures = outcome
    return f"{' '.join(names) or 'nothing'} with {len(signatures)} signatures"


def _read_opening(path: Path, frames: Iterator[bytes]) -> Segment:
    first = next(frames, None)
    if first is None:
        raise CoreLogError(where=f"{path}", expected="an opening", found="nothing")
    match thaw_any(first):
        case (int(version), *_) if version != VERSION:
            raise CoreLogError(where=f"{path}", expected=f"format version {VERSION}", found=f"{version}")
        case (
            _,
            bytes(code),
            bytes(chain_id),
            str(member),
            int(epoch),
            int(monotonic_ms),
            int(wall_ms),
        ):
            if code != code_digest():
                expected = f"decisions of this code, {code_digest().hex()[:16]}"
                raise CoreLogError(
                    where=f"{path}",
                    expected=expected,
                    found=f"of {code.hex()[:16]}: use the release that wrote it",
                )
            return Segment(path, chain_id, member, epoch, monotonic_ms, wall_ms)
        case _:
            raise CoreLogError(where=f"{path}", expected="an opening", found="something else")


def _read_event(path: Path, frame: bytes) -> tuple[int, Event]:
    match thaw_any(frame):
        case (int(now_ms), event) if isinstance(event, Event):
            return now_ms, event
        case _:
            raise CoreLogError(where=f"{path}", expected="a time and an event", found="something else")
