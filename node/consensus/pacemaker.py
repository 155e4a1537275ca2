"""When to wait, when to give up, when to propose (docs/consensus.md, C12 to C14).

Rule 1: a clock runs only for a reason, and every reason is looked at anew in each step: nothing here waits
for an edge that may be lost.
Rule 2: what starts a follower's clock obliges the leader, and waiting alone starts no clock.
Rule 3: timeouts grow with the distance from finality, up to BACKOFF_FACTOR_MAX times; finality resets them.
"""

from dataclasses import dataclass
from functools import cache

from ledger.rules.certificates import NULLIFY
from node.consensus.config import BACKOFF_FACTOR_MAX, STATUS_PERIODS_UNTIL_STALE, Config
from node.consensus.messages import IDLE, WAITING, WORK, StatusMessage
from node.consensus.rounds import Round, Rounds

NO_PROPOSAL = "no-proposal"
NOT_CERTIFIED = "not-certified"
LEADER_SILENT = "leader-silent"


@cache
def backoff_permille(views_without_finality: int) -> int:
    """Return the factor on timeouts in thousandths: 1.3 for each view, capped."""
    factor = 1_000
    for _ in range(views_without_finality):
        factor = factor * 13 // 10
        if factor >= BACKOFF_FACTOR_MAX * 1_000:
            return BACKOFF_FACTOR_MAX * 1_000
    return factor


@dataclass(frozen=True, slots=True)
class PeerPace:
    """What a peer's last status said, and until when that counts."""

    pace: str
    view: int
    stale_at_ms: int


class Pacemaker:
    """Reasons, clocks and signals of one validator."""

    __slots__ = (
        "_announced",
        "_certified_at_ms",
        "_config",
        "_has_shown_work",
        "_has_work",
        "_heard_at_ms",
        "_last_block_at_ms",
        "_me",
        "_paces",
        "_rounds",
        "_status_at_ms",
        "_unfinalized_since_ms",
    )

    def __init__(self, config: Config, rounds: Rounds, me: int | None) -> None:
        self._config = config
        self._rounds = rounds
        self._me = me
        self._has_work = False
        self._certified_at_ms = 0
        self._last_block_at_ms = 0
        self._unfinalized_since_ms: int | None = None
        self._heard_at_ms: dict[int, int] = {}
        self._paces: dict[int, PeerPace] = {}
        self._announced: tuple[int, str] = (0, IDLE)
        self._has_shown_work = False
        self._status_at_ms = 0

    # What happened.

    def start(self, now_ms: int) -> None:
        """Take the start for the last block and for everybody's last sign of life."""
        self._certified_at_ms = now_ms
        self._last_block_at_ms = now_ms
        self._status_at_ms = now_ms
        self._heard_at_ms = {peer: now_ms for peer in range(len(self._rounds.validators)) if peer != self._me}
        self.note_finality(now_ms)

    def set_work(self, has_work: bool) -> None:
        """Note whether this node has something for a block to do."""
        self._has_work = has_work

    def note_heard(self, peer: int, now_ms: int) -> None:
        """Note a sign of life."""
        self._heard_at_ms[peer] = now_ms

    def note_status(self, peer: int, status: StatusMessage, now_ms: int) -> None:
        """Keep a peer's pace until it changes or goes stale. One from an earlier view was overtaken."""
        held = self._paces.get(peer)
        if held is not None and status.current_view < held.view:
            return
        lifetime_ms = STATUS_PERIODS_UNTIL_STALE * self._config.status_interval_ms
        self._paces[peer] = PeerPace(status.pace, status.current_view, now_ms + lifetime_ms)

    def forget(self, peer: int) -> None:
        """Drop the signals of a peer that went away."""
        self._paces.pop(peer, None)

    def note_block(self, now_ms: int) -> None:
        """Note that a block was proposed."""
        self._last_block_at_ms = now_ms

    def note_certified(self, now_ms: int) -> None:
        """Note that the tip rose: the heartbeat counts from here."""
        self._certified_at_ms = now_ms
        if self._unfinalized_since_ms is None and self._rounds.tip_view > self._rounds.finalized.view:
            self._unfinalized_since_ms = now_ms

    def note_finality(self, now_ms: int) -> None:
        """Note that finality rose: what is still above it waits anew."""
        is_behind = self._rounds.tip_view > self._rounds.finalized.view
        self._unfinalized_since_ms = now_ms if is_behind else None

    # Reasons (C12).

    def has_own_reason(self, now_ms: int) -> bool:
        """Tell whether this node itself wants a block: work, heartbeat, or a tip that stays unfinalized."""
        return self._has_work or now_ms >= self._heartbeat_at_ms or self._is_unfinalized_too_long(now_ms)

    def has_others_reason(self, now_ms: int) -> bool:
        """Tell whether a peer signals work, or gave up the current view."""
        for pace in self._paces.values():
            if pace.pace == WORK and now_ms < pace.stale_at_ms:
                return True
        current = self._rounds.find(self._rounds.current_view)
        return current is not None and any(signer != self._me for signer in current.votes.signers(NULLIFY))

    def _is_obliged(self, now_ms: int) -> bool:
        """C13: everything that may run a follower's clock obliges the leader."""
        view = self._rounds.current_view
        return (
            self.has_own_reason(now_ms)
            or self.has_others_reason(now_ms)
            or any(
                pace.pace == WAITING and pace.view == view and now_ms < pace.stale_at_ms
                for pace in self._paces.values()
            )
        )

    @property
    def _heartbeat_at_ms(self) -> int:
        return self._certified_at_ms + self._config.heartbeat_interval_ms

    def _is_unfinalized_too_long(self, now_ms: int) -> bool:
        since_ms = self._unfinalized_since_ms
        return since_ms is not None and now_ms >= since_ms + self._config.finality_wait_ms

    # Clocks.

    def poke(self, now_ms: int) -> None:
        """Start or stop the clock of the current view."""
        current = self._rounds.current
        has_reason = (
            current.proposal is not None or self.has_own_reason(now_ms) or self.has_others_reason(now_ms)
        )
        if has_reason and current.clock_started_ms is None:
            distance = self._rounds.current_view - self._rounds.finalized.view
            factor = backoff_permille(max(0, distance - len(self._rounds.validators)))
            current.clock_started_ms = now_ms
            current.leader_deadline_ms = now_ms + self._config.leader_timeout_ms * factor // 1_000
            current.advance_deadline_ms = now_ms + self._config.advance_timeout_ms * factor // 1_000
        elif not has_reason and NULLIFY not in current.own:
            # C12: a clock that runs without a proposal stops when its reasons vanish.
            current.clock_started_ms = current.leader_deadline_ms = current.advance_deadline_ms = None
        if current.proposal is not None:
            current.leader_deadline_ms = None

    def find_timeout(self, now_ms: int) -> str | None:
        """Return why the current view is to be given up now, if it is (C14)."""
        current = self._rounds.current
        if current.latched is not None:
            return current.latched
        if current.clock_started_ms is None:
            return None
        if current.proposal is None and self._is_silent(current.leader, now_ms):
            return LEADER_SILENT
        if current.leader_deadline_ms is not None and now_ms >= current.leader_deadline_ms:
            return NO_PROPOSAL
        if current.advance_deadline_ms is not None and now_ms >= current.advance_deadline_ms:
            return NOT_CERTIFIED
        return None

    def _is_silent(self, leader: int, now_ms: int) -> bool:
        """Tell whether a leader was silent while a quorum was heard; with less, we may be deaf."""
        if leader == self._me or now_ms < self._silent_at_ms(leader):
            return False
        heard = sum(now_ms < self._silent_at_ms(peer) for peer in self._heard_at_ms)
        return heard + 1 >= self._rounds.validators.quorum

    def _silent_at_ms(self, peer: int) -> int:
        return self._heard_at_ms[peer] + self._config.skip_inactive_ms

    def propose_at_ms(self, now_ms: int) -> int | None:
        """Return when the leader of the current view may propose; None if nothing obliges it (C3)."""
        if self._has_work:
            return self._last_block_at_ms + self._config.block_interval_min_ms
        if self._is_obliged(now_ms):
            return self._last_block_at_ms + self._config.obliged_interval_ms
        return None

    # Signals (C13, C17).

    def pace(self, now_ms: int) -> str:
        """Return what this node's status says: what it wants, or that it has waited for some time."""
        if self._me is not None and self.has_own_reason(now_ms):
            return WORK
        return WAITING if self._is_signal_due(now_ms) else IDLE

    def is_status_due(self, now_ms: int) -> bool:
        """Tell whether a status is to be broadcast: by the period, a signal, or the end of one."""
        if now_ms >= self._status_at_ms:
            return True
        view = self._rounds.current_view
        pace = self.pace(now_ms)
        announced_view, announced_pace = self._announced
        if pace != WORK and (announced_pace == WORK or self._has_shown_work):
            return True
        if announced_pace == WAITING and announced_view == view and pace == IDLE:
            return True
        return (announced_view, announced_pace) != (view, pace) and self._is_signal_due(now_ms)

    def note_status_shown(self, now_ms: int) -> None:
        """Note what one peer was told: if it was work, all are told when that ends."""
        self._has_shown_work = self._has_shown_work or self.pace(now_ms) == WORK

    def note_status_sent(self, now_ms: int) -> None:
        """Note what everybody was told."""
        self._has_shown_work = False
        self._announced = (self._rounds.current_view, self.pace(now_ms))
        self._status_at_ms = now_ms + self._config.status_interval_ms

    def _is_signal_due(self, now_ms: int) -> bool:
        """Tell whether the current view's clock has run for the signal's delay without a proposal."""
        current = self._rounds.current
        if current.clock_started_ms is None or current.proposal is not None:
            return False
        return now_ms >= current.clock_started_ms + self._config.signal_delay_ms

    def next_deadline_ms(self, now_ms: int) -> int | None:
        """Return the next time at which any of this may change by itself."""
        if self._me is None:
            return self._status_at_ms
        times = self._round_deadlines(self._rounds.current, now_ms)
        times += (self._status_at_ms, self._heartbeat_at_ms)
        if self._unfinalized_since_ms is not None:
            times.append(self._unfinalized_since_ms + self._config.finality_wait_ms)
        times += [pace.stale_at_ms for pace in self._paces.values() if pace.pace != IDLE]
        earliest_ms: int | None = None
        for time_ms in times:
            if time_ms is not None and time_ms > now_ms and (earliest_ms is None or time_ms < earliest_ms):
                earliest_ms = time_ms
        return earliest_ms

    def _round_deadlines(self, current: Round, now_ms: int) -> list[int | None]:
        times = [current.leader_deadline_ms, current.advance_deadline_ms]
        is_own = current.leader == self._me
        if is_own:
            times.append(self.propose_at_ms(now_ms))
        started_ms = current.clock_started_ms
        if started_ms is not None and current.proposal is None:
            times.append(started_ms + self._config.signal_delay_ms)
            if not is_own:
                times.append(self._silent_at_ms(current.leader))
        return times
