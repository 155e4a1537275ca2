"""Timing of the core. Purely local: nodes may differ, and safety depends on none of it (docs/consensus.md).

Rule 1: what a leader is obliged to do fits into the time after which it is given up: signal, wait and build
come before the leader timeout.
Rule 2: a leader is called silent only after several statuses were due.
"""

from dataclasses import dataclass, fields
from typing import Final

from ledger.errors import LedgerError

RETENTION_VIEWS: Final = 10
BACKOFF_FACTOR_MAX: Final = 8
STATUS_PERIODS_UNTIL_STALE: Final = 3


class TimingError(LedgerError):
    """Timing that would make the protocol stall by itself."""

    code = "consensus-config"


@dataclass(frozen=True, slots=True)
class Config:
    """Durations in milliseconds. Δ, the bound on one hop with its sync and execution, is taken as 500 ms."""

    leader_timeout_ms: int = 1_000
    advance_timeout_ms: int = 2_000
    retry_interval_ms: int = 1_000
    fetch_delay_ms: int = 50
    fetch_timeout_ms: int = 1_000
    standstill_interval_ms: int = 3_000
    skip_inactive_ms: int = 5_000
    heartbeat_interval_ms: int = 10_000
    finality_wait_ms: int = 1_500
    block_interval_min_ms: int = 25
    obliged_interval_ms: int = 250
    signal_delay_ms: int = 100
    status_interval_ms: int = 2_000

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise TimingError(
                    where=field.name, expected="at least 1 ms", found=f"{getattr(self, field.name)} ms"
                )
        obliged = self.signal_delay_ms + max(self.obliged_interval_ms, self.block_interval_min_ms)
        self._check_less("signal delay and block interval", obliged, "leader_timeout_ms")
        self._check_less("leader timeout", self.leader_timeout_ms, "advance_timeout_ms")
        self._check_less("advance timeout", self.advance_timeout_ms, "skip_inactive_ms")
        self._check_less("retry interval", self.retry_interval_ms, "skip_inactive_ms")
        self._check_less("two statuses", 2 * self.status_interval_ms, "skip_inactive_ms")
        self._check_less("unfinalized wait", self.finality_wait_ms, "heartbeat_interval_ms")

    def _check_less(self, name: str, smaller_ms: int, larger: str) -> None:
        larger_ms: int = getattr(self, larger)
        if smaller_ms >= larger_ms:
            raise TimingError(
                where=larger, expected=f"more than {smaller_ms} ms ({name})", found=f"{larger_ms} ms"
            )
