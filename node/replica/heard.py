"""What validators let out about themselves in what they say: how far they are, who votes, what their clocks show.

Rule 1: it is hearsay. It tells operators something, and decides nothing.
Rule 2: of a peer's clock the time of its own fresh proposals tells. One that waited on its way looks like a slow clock,
never like a fast one: a clock is called slow by two proposals, or by more than any link holds back.
Rule 3: how far others are is what f + 1 of them say, so that one liar moves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ledger.rules.blocks import Header
from ledger.rules.certificates import ValidatorSet
from node.clock import Clock
from node.consensus.messages import BlockProposalMessage, Message, StatusMessage, VoteMessage

TIMES_KEPT: Final = 2
TIME_STALE_MS: Final = 600_000
"""After so long a proposal tells nothing more about a clock: every validator leads within a minute."""
RESENT_MS: Final = 5_000
"""For so long after a peer came, its proposals may be old ones that it sends again."""
HELD_BACK_MAX_MS: Final = 60_000
"""Longer than a link can hold a message back before it is given up."""
SILENT_MS: Final = 15_000
"""A validator whose view does not end sends its votes again every few seconds; an idle one votes every ten."""


@dataclass(slots=True)
class _Validator:
    """What was heard of one validator."""

    came_ms: int
    final: tuple[int, int] = (0, 0)
    proposed: tuple[int, int] = (0, 0)
    # For each fresh proposal: its time less our monotonic time when it came, and that time. So our own wall clock may
    # be set meanwhile.
    times: list[tuple[int, int]] = field(default_factory=list)
    voted_ms: int | None = None


class Heard:
    """One replica's notes on the validators of its epoch. Nothing of a member that is none is kept."""

    def __init__(self, validators: ValidatorSet, clock: Clock) -> None:
        self._clock = clock
        self._heard: dict[str, _Validator] = {}
        self.begin(validators)

    def begin(self, validators: ValidatorSet) -> None:
        """Listen to these validators from now on."""
        self._validators = validators
        members = {each.member for each in validators.validators}
        now_ms = self._clock.monotonic_ms()
        self._heard = {member: self._heard.get(member) or _Validator(now_ms) for member in members}

    def peer_up(self, peer: str) -> None:
        """Take note of a connection."""
        found = self._heard.get(peer)
        if found is not None:
            found.came_ms = self._clock.monotonic_ms()

    def note_message(self, peer: str, message: Message) -> None:
        """Take note of what a peer says, believed or not."""
        found = self._heard.get(peer)
        if found is None:
            return
        match message:
            case StatusMessage():
                found.final = (message.epoch, message.finalized_view)
            case VoteMessage() | BlockProposalMessage():
                found.voted_ms = self._clock.monotonic_ms()
            case _:
                pass

    def note_proposal(self, peer: str, header: Header, view: int, parent_time_ms: int | None) -> None:
        """Take note of the time in a peer's own proposal. `parent_time_ms` is None where the parent is not known."""
        found = self._heard.get(peer)
        place = (header.epoch, view)
        if found is None or header.proposer != peer or header.view != view or place <= found.proposed:
            return
        found.proposed = place
        now_ms = self._clock.monotonic_ms()
        if parent_time_ms is None or header.time_ms <= parent_time_ms + 1:
            # A leader whose clock is not past the parent's time takes the first time after it.
            return
        if now_ms - found.came_ms >= RESENT_MS:
            found.times = [*found.times, (header.time_ms - now_ms, now_ms)][-TIMES_KEPT:]

    def clock_offsets_ms(self) -> dict[str, int]:
        """Return how far each validator's clock is ahead of this node's, where that is known."""
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        offsets: dict[str, int] = {}
        for member, found in self._heard.items():
            fresh = [time for time, came_ms in found.times if now_ms - came_ms < TIME_STALE_MS]
            if not fresh:
                continue
            offset_ms = max(fresh) - (wall_ms - now_ms)
            if offset_ms > 0 or len(fresh) == TIMES_KEPT or offset_ms < -HELD_BACK_MAX_MS:
                offsets[member] = offset_ms
        return offsets

    def silent(self, among: Sequence[str]) -> tuple[str, ...]:
        """Return those of these validators of whom no vote came for a while."""
        due_ms = self._clock.monotonic_ms() - SILENT_MS
        found = ((member, self._heard.get(member)) for member in among)
        return tuple(
            sorted(
                member
                for member, each in found
                if each is not None and max(each.came_ms, each.voted_ms or 0) < due_ms
            )
        )

    def known_final(self) -> tuple[int, int]:
        """Return the epoch and view that f + 1 validators call final: one of them at least is honest."""
        told = sorted((each.final for each in self._heard.values()), reverse=True)
        return told[min(self._validators.faulty_max, len(told) - 1)]
