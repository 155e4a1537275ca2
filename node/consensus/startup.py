"""May this validator vote? The question to peers at the start, and amnesia (docs/consensus.md, C18).

Rule 1: nothing is signed before q-1 other validators answered, in this life of the process.
Rule 2: only a vote that bears this node's own signature, lies above the floor and is absent from its log
shows amnesia. Claims show nothing.
Rule 3: an amnesiac signs again when finality is above X+1, where X is one more than the highest certificate
among the answers, and above every forgotten vote that was shown. This is durable.
"""

import enum

from node.consensus.config import Config
from node.consensus.journal import Amnesia
from node.consensus.rounds import Rounds


class Participation(enum.Enum):
    """Whether votes may be cast."""

    ASKING = "asking"
    OBSERVING = "observing"
    VOTING = "voting"


class Startup:
    """The question, its answers, and what follows from them."""

    __slots__ = ("_answers", "_ask_at_ms", "_config", "_forgotten_view", "_rounds", "amnesia", "standing")

    def __init__(self, config: Config, rounds: Rounds, amnesia: Amnesia | None, floor_view: int) -> None:
        self._config = config
        self._rounds = rounds
        self._answers: dict[int, int] = {}
        self._ask_at_ms = 0
        self._forgotten_view = floor_view
        self.amnesia = amnesia
        self.standing = Participation.ASKING

    @property
    def may_vote(self) -> bool:
        """Tell whether this validator may sign."""
        return self.standing is Participation.VOTING

    def has_answered(self, peer: int) -> bool:
        """Tell whether a peer's answer to the question is here."""
        return peer in self._answers

    def lost_memory(self, forgotten_view: int) -> Amnesia | None:
        """React to an own vote that the log lacks: ask anew. Returns the record to persist, if new."""
        self._forgotten_view = max(self._forgotten_view, forgotten_view)
        if self.amnesia is not None:
            until_view = self.amnesia.until_view
            is_asking = until_view is None and self.standing is Participation.ASKING
            if is_asking or (until_view is not None and forgotten_view <= until_view):
                return None
        self.amnesia = Amnesia(self._rounds.epoch, None)
        self.standing = Participation.ASKING
        self._answers = {}
        self._ask_at_ms = 0
        return self.amnesia

    def note_answer(self, peer: int, highest_certified_view: int) -> None:
        """Count a peer's answer, whose certificates were verified."""
        self._answers[peer] = max(highest_certified_view, self._answers.get(peer, 0))

    def conclude(self) -> Amnesia | None:
        """Decide what can be decided. Returns the amnesia record to persist, if there is a new one."""
        if self.standing is Participation.ASKING and len(self._answers) >= self._rounds.validators.quorum - 1:
            if self.amnesia is None:
                self.standing = Participation.VOTING
                return None
            self.standing = Participation.OBSERVING
            if self.amnesia.until_view is None:
                highest_view = max([*self._answers.values(), self._rounds.current_view]) + 1
                self.amnesia = Amnesia(self._rounds.epoch, max(highest_view + 1, self._forgotten_view))
                return self.amnesia
        return None

    def recover(self) -> bool:
        """Tell whether amnesia just ended: finality passed everything that may have been forgotten."""
        if self.standing is not Participation.OBSERVING or self.amnesia is None:
            return False
        until_view = self.amnesia.until_view
        if until_view is None or self._rounds.finalized.view <= until_view:
            return False
        self.amnesia = None
        self.standing = Participation.VOTING
        return True

    def take_unanswered(self, peers: list[int], now_ms: int) -> list[int]:
        """Return whom to ask now."""
        if self.standing is not Participation.ASKING or now_ms < self._ask_at_ms:
            return []
        self._ask_at_ms = now_ms + self._config.retry_interval_ms
        return [peer for peer in peers if peer not in self._answers]

    def is_unanswered(self, peer: int) -> bool:
        """Tell whether this peer's answer is still wanted."""
        return self.standing is Participation.ASKING and peer not in self._answers

    def next_deadline_ms(self) -> int | None:
        """Return when to ask again."""
        return self._ask_at_ms if self.standing is Participation.ASKING else None
