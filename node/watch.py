"""The watch: looks at a running node again and again, and tells its log when it is not well.

Rule 1: what is well and what is not, `node.condition` decides. Here is gathered what it decides by: since when is what.
Rule 2: a trouble is logged when it has lasted for its patience, then at growing intervals, and once when it is over.
Rule 3: looking changes nothing of the node.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from ledger.rules.state import require_parameters
from node.clock import Clock
from node.condition import (
    AMNESIA,
    ASKING,
    BEHIND,
    FIRST_BLOCK,
    NO_QUORUM,
    Condition,
    Observations,
    Trouble,
    judge,
)
from node.consensus.config import Config
from node.consensus.startup import Participation
from node.replica.driver import Driver

logger = logging.getLogger(__name__)

LOOK_EVERY_MS: Final = 1_000
DISK_EVERY_MS: Final = 10_000
PATIENCE_MS: Final[Mapping[str, int | None]] = {
    NO_QUORUM: 30_000,
    AMNESIA: 30_000,
    ASKING: 30_000,
    FIRST_BLOCK: 30_000,
    # A node that catches up says how far it is (`sync.progress`); one that gets no further has another trouble.
    BEHIND: None,
}
"""How long a trouble lasts before it is logged, None for never; others are logged at once."""
AGAIN_FIRST_MS: Final = 30_000
AGAIN_MAX_MS: Final = 1_800_000


def free_size(data: Path) -> int | None:
    """Return how many bytes the node may still write where its data lies; None where the system does not say."""
    try:
        found = os.statvfs(data)
    except OSError:
        return None
    # A disk without room for another file's name is full as well.
    has_names = found.f_files == 0 or found.f_favail > 0
    return found.f_bavail * found.f_frsize if has_names else 0


class Watch:
    """What one node observes of itself, over time."""

    def __init__(
        self,
        *,
        member: str,
        driver: Driver,
        clock: Clock,
        heartbeat_ms: int = Config().heartbeat_interval_ms,
        free_size: Callable[[], int | None] = lambda: None,
        swallowing: Callable[[], tuple[str, ...]] = tuple,
        is_displaced: Callable[[], bool] = lambda: False,
    ) -> None:
        self._member = member
        self._driver = driver
        self._clock = clock
        self._heartbeat_ms = heartbeat_ms
        self._free_size = free_size
        self._swallowing = swallowing
        self._is_displaced = is_displaced
        self._began_ms = clock.monotonic_ms()
        self._tip_hash = driver.chain.tip.encoded_header.hash
        self._final_ms: int | None = None
        self._down_since_ms: dict[str, int] = {}
        self._below_quorum_since_ms: int | None = None
        self._standing: tuple[Participation, int] = (driver.core.standing, self._began_ms)
        self._disk: tuple[int, int | None] = (self._began_ms, free_size())
        self._since_ms: dict[str, int] = {}
        # For each trouble that was logged: when it is due again, after how long then, and since when it lasts.
        self._told: dict[str, tuple[int, int, int]] = {}
        self._note_links(self._began_ms)

    def look(self) -> Condition:
        """Return the node's condition."""
        condition = judge(self._observe())
        now_ms = condition.observations.now_ms
        troubles = tuple(
            replace(each, since_ms=self._since_ms.get(each.code, now_ms)) if each.since_ms is None else each
            for each in condition.troubles
        )
        self._since_ms = {each.code: now_ms if each.since_ms is None else each.since_ms for each in troubles}
        return replace(condition, troubles=troubles)

    def tell(self) -> None:
        """Look, and log what is due."""
        condition = self.look()
        now_ms = condition.observations.now_ms
        for trouble in condition.troubles:
            self._tell_trouble(trouble, now_ms)
        for code in sorted(self._told.keys() - self._since_ms.keys()):
            _, _, since_ms = self._told.pop(code)
            logger.warning("condition.mended code=%s lasted_s=%d", code, (now_ms - since_ms) // 1_000)

    def _tell_trouble(self, trouble: Trouble, now_ms: int) -> None:
        since_ms, patience_ms = self._since_ms[trouble.code], PATIENCE_MS.get(trouble.code, 0)
        due_ms, again_ms, _ = self._told.get(trouble.code, (now_ms, AGAIN_FIRST_MS, since_ms))
        if patience_ms is None or now_ms - since_ms < patience_ms or now_ms < due_ms:
            return
        self._told[trouble.code] = (now_ms + again_ms, min(2 * again_ms, AGAIN_MAX_MS), since_ms)
        facts = (trouble.code, (now_ms - since_ms) // 1_000, trouble.found, trouble.cure)
        if trouble.is_error:
            logger.error("condition.trouble code=%s lasts_s=%d found=%s cure=%s", *facts)
        else:
            logger.warning("condition.trouble code=%s lasts_s=%d found=%s cure=%s", *facts)

    # -- what is observed -------------------------------------------------------------------------------

    def _observe(self) -> Observations:
        driver, now_ms = self._driver, self._clock.monotonic_ms()
        core, engine = driver.core, driver.engine
        lack = engine.lack
        validators = tuple(each.member for each in engine.validators.validators)
        self._note_final(now_ms)
        self._note_links(now_ms)
        self._note_standing(now_ms)
        standing, standing_since_ms = self._standing
        is_asking = engine.me is not None and standing is Participation.ASKING
        is_observing = engine.me is not None and standing is Participation.OBSERVING
        amnesia = core.amnesia
        progress = driver.sync.progress(now_ms)
        parameters = require_parameters(driver.chain.tip.state)
        is_announced = not parameters.knows(parameters.protocol_height)
        return Observations(
            member=self._member,
            now_ms=now_ms,
            began_ms=self._began_ms,
            heartbeat_ms=self._heartbeat_ms,
            validators=validators,
            is_validator=engine.me is not None,
            lacks=None if lack is None else lack.what,
            lack_cure="" if lack is None else lack.cure,
            lacks_key=lack is not None and lack.is_of_key,
            is_lack_waited_out=lack is not None and lack.until_height is not None,
            down_since_ms=dict(self._down_since_ms),
            below_quorum_since_ms=self._below_quorum_since_ms,
            silent=driver.heard.silent([each for each in validators if each in driver.connected]),
            final_ms=self._final_ms,
            has_first_block=driver.chain.store.tip_certificate() is not None,
            is_behind=driver.is_behind(),
            height=driver.chain.tip.header.height,
            known_height=driver.sync.known_height(),
            known_epoch=max(driver.heard.known_final()[0], engine.epoch),
            stalled_ms=0 if progress is None else progress.stalled_ms,
            asked=() if progress is None else progress.peers,
            asks_since_ms=standing_since_ms if is_asking else None,
            unanswered=tuple(validators[peer] for peer in core.unanswered) if is_asking else (),
            observes_since_ms=standing_since_ms if is_observing else None,
            until_view=0 if amnesia is None or amnesia.until_view is None else amnesia.until_view,
            finalized_view=core.finalized.view,
            clock_offsets_ms=driver.heard.clock_offsets_ms(),
            disk_free_size=self._look_at_disk(now_ms),
            key_misused_how=self._key_misused_how(),
            key_misused_count=driver.own_key.misused_count,
            misbehaviour_count=driver.misbehaviour_count,
            unknown_protocol=parameters.protocol if is_announced else None,
            protocol_height=parameters.protocol_height,
            swallowing=self._swallowing(),
        )

    def _note_final(self, now_ms: int) -> None:
        tip_hash = self._driver.chain.tip.encoded_header.hash
        if tip_hash != self._tip_hash:
            self._tip_hash, self._final_ms = tip_hash, now_ms

    def _note_links(self, now_ms: int) -> None:
        engine = self._driver.engine
        validators = {each.member for each in engine.validators.validators}
        down = validators - self._driver.connected - ({self._member} if engine.me is not None else set())
        self._down_since_ms = {each: self._down_since_ms.get(each, now_ms) for each in down}
        is_below = len(validators) - len(down) < engine.validators.quorum
        since_ms = self._below_quorum_since_ms
        self._below_quorum_since_ms = (now_ms if since_ms is None else since_ms) if is_below else None

    def _note_standing(self, now_ms: int) -> None:
        standing, since_ms = self._driver.core.standing, self._standing[1]
        if standing is not self._standing[0]:
            # From the question to its answer, a node that does not vote has not voted since the question.
            was_voting = self._standing[0] is Participation.VOTING or standing is Participation.VOTING
            self._standing = (standing, now_ms if was_voting else since_ms)

    def _look_at_disk(self, now_ms: int) -> int | None:
        looked_ms, found = self._disk
        if now_ms - looked_ms >= DISK_EVERY_MS:
            found = self._free_size()
            self._disk = (now_ms, found)
        return found

    def _key_misused_how(self) -> str | None:
        if self._driver.own_key.misused_how is None and self._is_displaced():
            return (
                "peers end this node's connections again and again for those of another process that shows its TLS "
                "certificate"
            )
        return self._driver.own_key.misused_how
