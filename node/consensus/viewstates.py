"""The states of a view above finality, as one node sees it: which there are, and where each may go.

docs/consensus.md, The states of a view, says what they mean. Exploration checks every view of every state that it
reaches against these tables, and that nothing stands in them that is never reached (docs/exploration.md).

Rule 1: a view's state is what stands in its slot, what this node said of it, what came of its notarization here, and
its clock; beside these two marks that never go away: its leader was seen to equivocate, and a quorum skipped it.
Rule 2: `BLOCKS` and `CLOCKS` list all combinations. Whether a quorum skipped the view excludes none of them.
Rule 3: an event may move a view along the pairs listed in the `..._STEPS`, in each part at once, and no other way.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar


class Slot(enum.Enum):
    """The view's proposal, on its way to this node's vote."""

    EMPTY = "empty"
    BUILDING = "building"
    PROPOSED = "proposed"
    CHECKING = "checking"
    VERIFIED = "verified"


class Said(enum.Enum):
    """The votes that this node signed in the view."""

    NOTHING = "nothing"
    NOTARIZE = "notarize"
    NULLIFY = "nullify"
    NOTARIZE_NULLIFY = "notarize, nullify"
    FINALIZE = "finalize"
    NOTARIZE_FINALIZE = "notarize, finalize"


class Certification(enum.Enum):
    """How far certifying a notarized block has come. `NONE`: there is no notarization."""

    NONE = "none"
    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"


class ViewClock(enum.Enum):
    """What the view's clock waits for. One that was left stands as it stood."""

    STOPPED = "stopped"
    LEADER = "leader"
    ADVANCE = "advance"


@dataclass(frozen=True, slots=True)
class ViewState:
    """One combination."""

    slot: Slot
    is_equivocated: bool
    said: Said
    certification: Certification
    is_nullified: bool
    clock: ViewClock


_Block = tuple[Slot, bool]
_ANY: Final = frozenset(
    {
        (Slot.EMPTY, False),
        (Slot.BUILDING, False),
        (Slot.PROPOSED, False),
        (Slot.PROPOSED, True),
        (Slot.CHECKING, False),
        (Slot.CHECKING, True),
        (Slot.VERIFIED, False),
        (Slot.VERIFIED, True),
    }
)
_SOME: Final = _ANY - {(Slot.EMPTY, False), (Slot.BUILDING, False)}
# What this node voted for, whether its leader equivocated or not.
_OWN: Final = frozenset({(Slot.VERIFIED, False), (Slot.VERIFIED, True)})
# The same, or another block: a quorum notarized it while this node voted for its rival.
_OWN_OR_RIVAL: Final = _OWN | {(Slot.PROPOSED, True)}

_NOTARIZED: Final[Mapping[Said, frozenset[_Block]]] = {
    Said.NOTHING: _SOME,
    Said.NULLIFY: _SOME,
    Said.NOTARIZE: _OWN_OR_RIVAL,
    Said.NOTARIZE_NULLIFY: _OWN_OR_RIVAL,
}
BLOCKS: Final[Mapping[Certification, Mapping[Said, frozenset[_Block]]]] = {
    Certification.NONE: {
        Said.NOTHING: _ANY,
        Said.NULLIFY: _ANY,
        Said.NOTARIZE: _OWN,
        Said.NOTARIZE_NULLIFY: _OWN,
    },
    Certification.PENDING: _NOTARIZED,
    Certification.VALID: {**_NOTARIZED, Said.FINALIZE: _SOME, Said.NOTARIZE_FINALIZE: _OWN},
    Certification.INVALID: _NOTARIZED,
}
"""What may stand in the slot, with or without a rival seen, by what came of it and what this node said."""

CLOCKS: Final[Mapping[ViewClock, frozenset[Slot]]] = {
    ViewClock.STOPPED: frozenset({Slot.EMPTY, Slot.BUILDING, Slot.PROPOSED, Slot.VERIFIED}),
    ViewClock.LEADER: frozenset({Slot.EMPTY, Slot.BUILDING, Slot.PROPOSED}),
    ViewClock.ADVANCE: frozenset({Slot.PROPOSED, Slot.CHECKING, Slot.VERIFIED}),
}
"""What may stand in the slot, by what the clock waits for."""

SLOT_STEPS: Final = frozenset(
    {
        (Slot.EMPTY, Slot.BUILDING),
        (Slot.EMPTY, Slot.PROPOSED),
        (Slot.EMPTY, Slot.CHECKING),
        (Slot.BUILDING, Slot.PROPOSED),
        (Slot.BUILDING, Slot.VERIFIED),
        (Slot.PROPOSED, Slot.CHECKING),
        (Slot.CHECKING, Slot.VERIFIED),
        # A notarization puts another block into the slot, of which nothing is known.
        (Slot.CHECKING, Slot.PROPOSED),
        (Slot.VERIFIED, Slot.PROPOSED),
    }
)
SAID_STEPS: Final = frozenset(
    {
        (Said.NOTHING, Said.NOTARIZE),
        (Said.NOTHING, Said.NULLIFY),
        (Said.NOTHING, Said.FINALIZE),
        # The timeout was due already when the block was verified.
        (Said.NOTHING, Said.NOTARIZE_NULLIFY),
        (Said.NOTARIZE, Said.NOTARIZE_NULLIFY),
        (Said.NOTARIZE, Said.NOTARIZE_FINALIZE),
    }
)
CERTIFICATION_STEPS: Final = frozenset(
    {
        (Certification.NONE, Certification.PENDING),
        (Certification.PENDING, Certification.VALID),
        (Certification.PENDING, Certification.INVALID),
    }
)
CLOCK_STEPS: Final = frozenset(
    {
        (ViewClock.STOPPED, ViewClock.LEADER),
        (ViewClock.STOPPED, ViewClock.ADVANCE),
        (ViewClock.LEADER, ViewClock.ADVANCE),
        # The reasons vanished before a proposal came (C12).
        (ViewClock.LEADER, ViewClock.STOPPED),
    }
)

START: Final = ViewState(Slot.EMPTY, False, Said.NOTHING, Certification.NONE, False, ViewClock.STOPPED)
"""A view of which nothing is known."""

_Part = TypeVar("_Part", bound=enum.Enum)


def find_wrong_state(state: ViewState) -> str | None:
    """Return why there is no such state, if there is none."""
    allowed = BLOCKS[state.certification].get(state.said, frozenset())
    if (state.slot, state.is_equivocated) not in allowed:
        rival = " beside a rival" if state.is_equivocated else ""
        return (
            f"{state.slot.value}{rival}, said {state.said.value}, certification {state.certification.value}"
        )
    if state.slot not in CLOCKS[state.clock]:
        return f"{state.slot.value} under the clock {state.clock.value}"
    return None


def find_wrong_step(before: ViewState, after: ViewState) -> str | None:
    """Return why one event cannot lead from one state to another, if it cannot."""
    if before.is_equivocated > after.is_equivocated:
        return "an equivocation is forgotten"
    if before.is_nullified > after.is_nullified:
        return "a nullification is forgotten"
    return (
        _find_wrong_part(before.slot, after.slot, SLOT_STEPS)
        or _find_wrong_part(before.said, after.said, SAID_STEPS)
        or _find_wrong_part(before.certification, after.certification, CERTIFICATION_STEPS)
        or _find_wrong_part(before.clock, after.clock, CLOCK_STEPS)
    )


def _find_wrong_part(before: _Part, after: _Part, steps: frozenset[tuple[_Part, _Part]]) -> str | None:
    if before is after or (before, after) in steps:
        return None
    return f"{type(before).__name__} from {before.value} to {after.value}"
