"""The reporter: puts misbehaviour that this node saw on record (docs/governance.md, Misbehaviour).

Rule 1: evidence is kept until the ledger holds a record of it, or can no longer take one.
Rule 2: one report of each is under way at a time, signed by the node's own member. Every honest validator may
report the same: the first that is recorded stands, and the others are refused as already recorded.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.encoding.keys import PrivateKey
from ledger.errors import LedgerError
from ledger.rules.operations import ReportMisbehaviour
from ledger.rules.state import misbehaviour_key, require_parameters
from ledger.rules.transactions import Transaction, TransactionBody
from node.clock import Clock
from node.errors import MempoolError
from node.replica.driver import Driver

logger = logging.getLogger(__name__)

VALIDITY_MS: Final = 60_000
KEPT_MAX: Final = 64


@dataclass(slots=True)
class _Case:
    """A validator's misbehaviour, and the transaction that reports it, once there is one."""

    member: str
    operation: ReportMisbehaviour
    transaction: Transaction | None = None


class Reporter:
    """Reports for one member. While `is_needed`, call `report` after every step of the driver."""

    def __init__(
        self,
        *,
        member: str,
        find_member_key: Callable[[], PrivateKey | None],
        driver: Driver,
        clock: Clock,
    ) -> None:
        self._member = member
        self._find_member_key = find_member_key
        self._driver = driver
        self._clock = clock
        self._cases: deque[_Case] = deque(maxlen=KEPT_MAX)

    @property
    def is_needed(self) -> bool:
        """Say whether there is misbehaviour that may not be on record."""
        return bool(self._driver.misbehaviour or self._cases)

    def report(self) -> None:
        """Submit what is not on record and not under way."""
        while self._driver.misbehaviour:
            self._cases.append(_Case(*self._driver.misbehaviour.popleft()))
        self._cases = deque((case for case in self._cases if self._pursue(case)), maxlen=KEPT_MAX)

    def _pursue(self, case: _Case) -> bool:
        """Do what is due about a case; say whether it stays open."""
        epoch = case.operation.first.subject.epoch
        if self._driver.chain.store.find_value(misbehaviour_key(epoch, case.member)) is not None:
            return False
        if case.transaction is None or case.transaction.body.valid_until_ms < self._clock.wall_ms():
            key = self._find_member_key()
            if key is None:
                logger.error("misbehaviour.unreported validator=%s epoch=%d: no key", case.member, epoch)
                return False
            case.transaction = self._sign(case.operation, key)
        try:
            if self._driver.admit(case.transaction):
                logger.warning("misbehaviour.reported validator=%s epoch=%d", case.member, epoch)
                self._driver.spread([case.transaction])
        except MempoolError:
            return True
        except LedgerError as error:
            logger.warning(
                "misbehaviour.unreported validator=%s epoch=%d error=%s", case.member, epoch, error
            )
            return False
        return True

    def _sign(self, operation: ReportMisbehaviour, key: PrivateKey) -> Transaction:
        chain = self._driver.chain
        horizon_ms = min(VALIDITY_MS, require_parameters(chain.store).transaction_horizon_ms)
        body = TransactionBody(
            chain_id=chain.chain_id,
            sender=self._member,
            valid_until_ms=self._clock.wall_ms() + horizon_ms,
            operations=(operation,),
        )
        return Transaction.sign(body, key)
