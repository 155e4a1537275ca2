"""What is explored, and what came of it."""

from dataclasses import dataclass, field, replace

from ledger.rules.certificates import Subject
from tests.campaigns.exploration.node import leader_of, proposal_of
from tests.campaigns.exploration.process import Action

# Which validator, what, and the point at which it crashed, if it did.
TraceStep = tuple[int, Action, int | None]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is explored."""

    views: int
    byzantine: int
    crashes: int = 0
    letters: str = "AB"
    answers_at_once: bool = False
    glued: bool = False
    states_max: int | None = None
    seconds_max: float | None = None
    congruence_every: int = 97
    completion_every: int = 53
    judges_views: bool = True

    def within(self, seconds_max: float | None) -> "Scope":
        """Return the same scope, to be given up after a time."""
        return replace(self, seconds_max=seconds_max)

    def proposals(self) -> list[Subject]:
        """Return what the Byzantine leader may propose: on every parent, and a rival on the latest."""
        return [
            proposal_of(view, parent_view, letter)
            for view in range(1, self.views + 1)
            if leader_of(view) == self.byzantine
            for parent_view in range(view)
            for letter in (self.letters if parent_view == view - 1 else self.letters[0])
        ]


@dataclass(slots=True)
class Report:
    """Figures of a search."""

    scope: Scope
    states: int = 0
    transitions: int = 0
    depth: int = 0
    local_states: int = 0
    core_calls: int = 0
    congruence_checks: int = 0
    outcomes_compared: int = 0
    quiescent: int = 0
    waiting: int = 0
    seconds: float = 0.0
    failure: str | None = None
    trace: list[TraceStep] = field(default_factory=list)
    rare: dict[str, int] = field(default_factory=dict)

    @property
    def is_exhaustive(self) -> bool:
        """Tell whether nothing within the scope was left."""
        return self.waiting == 0 and self.failure is None
